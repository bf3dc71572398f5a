"""The API's metric names, all of them."""

from chassis.telemetry import counter, gauge, histogram

REQUESTS = counter("segue_api_requests", "Requests answered", ["method", "route", "status"])
REQUEST_SECONDS = histogram("segue_api_request_seconds", "From the request's head to the answer", ["route"])
ACCEPTED = counter("segue_api_commands_accepted", "Commands stored and answered with 202", ["type"])
SETTLED = counter("segue_api_commands_settled", "Commands whose owner's result was seen", ["type", "state"])
REPUBLISHED = counter("segue_api_commands_published_by_sweep", "Commands without a result, published again")
LEFT_TO_SWEEP = counter("segue_api_letters_left_to_sweep", "Messages that could not be published at once")
KAFKA = gauge(
    "segue_api_kafka_connected", "1 while Kafka acknowledges, 0 while letters are left to the sweep"
)
INBOUND = counter("segue_api_inbound", "Inbound messages, and posts refused", ["source", "result"])
UNSUBSCRIBED = counter("segue_api_unsubscribed", "Posts that unsubscribed somebody", ["reach", "by"])
ENGAGEMENTS = counter("segue_api_engagements", "Pixels and links that were asked for", ["kind", "reason"])
ENGAGEMENTS_LOST = counter("segue_api_engagements_lost", "Of these, what could not be stored", ["kind"])
WINNERS = counter("segue_api_winners", "Variants that were decided for", ["by"])
RECEIPTS = counter("segue_api_receipts", "Receipts of text messages", ["status"])
LIVE_PAGES = gauge("segue_api_live_pages", "Open live pages")
WEBHOOK_EVENTS = counter("segue_api_webhook_events", "Events stored for a webhook")
WEBHOOK_TRIES = counter("segue_api_webhook_tries", "Posts to webhooks", ["result"])
LIMITED = counter("segue_api_limited", "Requests answered with 429, of a key that sent too many")

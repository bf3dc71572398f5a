"""Sequences to try a running Segue with."""

TWO_MAILS = """
name: Backend engineers
mailbox: ana@ourco.example
stages:
  - id: hello
    channel: email
    subject: "{{first_name|Hi}}: a job"
    text: "Hi {{first_name|there}}, four days a week."
  - id: nudge
    channel: email
    after: 2 days
    text: "Hi {{first_name|there}}, did you see this?"
"""

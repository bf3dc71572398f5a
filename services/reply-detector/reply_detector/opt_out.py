"""Recognises that a person asks not to be written to again, in what they wrote and not in what they quote."""

import re

from reply_detector.autoreply import subject_core
from reply_detector.fresh_text import fold
from reply_detector.mime import Part
from reply_detector.vocabulary import phrases

TEXT_LIMIT_CHARS = 3_000
_SHORT_CHARS = 90

# The whole message, or its first line, is one of these; `please` and punctuation are taken off before.
_WORDS = frozenset(
    phrases("""
unsubscribe | unsubscribe me | stop | stopall | stop all | remove | remove me | opt out | opt-out | optout |
opt me out | cancel | cancel subscription | cancel my subscription | end | quit | take me off | take me off
your list | no more emails | no more e-mails | no more | stop it | stop emailing | stop emails | unsub |
delete me | delete my data | do not contact | do not contact me | don't contact me | leave me alone | stop
spamming | spam | fuck off | get lost | remove from list | remove from your list | stop this | not
interested unsubscribe | abmelden | abbestellen | austragen | stopp | keine weiteren e-mails | keine
weiteren mails | keine werbung | loschen | bitte loschen | keine mails mehr | keine e-mails mehr |
desabonner | desabonnement | desinscription | desinscrire | se desabonner | se desinscrire | me desabonner |
me desinscrire | arret | arretez | plus de mails | stop pub | baja | dar de baja | darse de baja | darme de
baja | cancelar suscripcion | no mas correos | no mas emails | desuscribir | desuscribirme | eliminar |
borrar | basta | uitschrijven | afmelden | schrijf mij uit | schrijf me uit | geen mails meer | geen e-mails
meer | verwijder mij | verwijderen | descadastrar | descadastre | cancelar inscricao | cancelar subscricao |
remover | remova | sair | parar | pare | me remova | anular subscricao | cancellami | cancellatemi |
cancellazione | disiscrivimi | disiscrivermi | disiscrizione | cancellarmi | rimuovimi | rimuovetemi |
annulla iscrizione
""")
)
# Of these, what means nothing else even behind other sentences.
_CLEAR_WORDS = frozenset(
    phrases("""
stop | stop it | stop this | unsubscribe | unsubscribe me | remove me | opt out | take me off | leave me
alone | do not contact me | no more mails | no more emails | no more e-mails | keine mails mehr | keine
e-mails mehr | plus de mails | plus d'emails | no mas correos | no mas emails | geen mails meer | geen
e-mails meer | nao quero mais emails | niente piu email | niente piu mail | basta email | abmelden |
austragen | bitte loschen | desabonner | desinscrire | dar de baja | darme de baja | borradlo | borrelo |
uitschrijven | afmelden | descadastrar | me remova | cancellami | cancellatemi | rimuovetemi
""")
)
_SENTENCE_END = re.compile(r"[.!?]+\s+")
_POLITE = re.compile(
    r"^(?:(?:hi|hello|hey|dear|hallo|guten tag|bonjour|hola|beste|ola|oi|ciao|buongiorno"
    r"|salve)\b[\s\w]{0,30}[,.!]?\s)?(?:please|pls|plz|kindly|bitte|s'il vous plait|svp"
    r"|merci de|por favor|graag|gelieve|alstublieft|per favore|prego|favor)?[\s,:]{0,3}"
)
_AFTER = re.compile(
    r"(?:\s?(?:please|pls|plz|thanks|thank you|thx|bitte|danke|merci|svp|gracias|por favor"
    r"|graag|s'il vous plait|s'il te plait|bedankt|alstublieft|aub|obrigad[oa]"
    r"|grazie|per favore|now|immediately|asap"
    r"|me)){0,3}$"
)

_MAIL = r"(?:e-?mail|mail|messag|contact|writ|call|text|spam|bother|pester|contatt|sms)"
_LIST = (
    r"(?:list|mailing|database|distribution|verteiler|liste|datenbank|lista|base de d"
    r"|banco de dados|lijst|bestand|adressenbestand|mailinglijst|contacts|newsletter|crm"
    r"|sequence|elenco)"
)
_REQUESTS = tuple(
    re.compile(pattern)
    for pattern in (
        r"\b(?:unsubscribe|opt) (?:me|us|this (?:address|email)|my (?:address|email))\b",
        r"\b(?:please|pls|kindly|want to|like to|wish to|how (?:do|can) i|let me|need to|asked? to"
        r"|me to) (?:be )?(?:unsubscribed?|opt(?:ed)?[- ]out)\b",
        rf"\b(?:remove|delete|take|drop|strike) (?:me|us|my (?:name|e-?mail|address|data|details"
        rf"|contact|info)[\w\s-]{{0,30}}|this (?:e-?mail|address)[\w\s-]{{0,20}}) (?:from|off"
        rf"|out of) [\w\s'-]{{0,40}}{_LIST}",
        r"\b(?:remove|delete) (?:me|my (?:data|details|information|contact|e-?mail"
        r"|personal data))\b(?! from (?:the |this )?(?:thread|cc|bcc|copy|chain|loop|calendar|chat))",
        r"\btake me off\b|\b(?:be|get) (?:removed|taken off)\b.{0,40}" + _LIST,
        rf"\bstop (?:{_MAIL}\w{{0,6}}) (?:me|us|our \w+|this (?:address"
        rf"|e-?mail|account))\b|\bstop (?:sending|these|all|the"
        rf"|your) (?:me )?[\w\s]{{0,20}}(?:e-?mails?|messages?|mails?|spam)\b|\bstop (?:spamming|harassing)\b"
        rf"|\bstop sending (?:me|us|these|this|your|any|all|more|e-?mails?|mails?|messages|spam|stuff|it)\b",
        r"\b(?:do not|don't|dont|never) (?:e-?mail|contact|message|write to) this (?:address|account|e-?mail"
        r"|number)\b"
        r"|\bnever (?:e-?mail|contact|message|write|call)(?: to)?(?: me| us)? again\b",
        rf"\b(?:do not|don't|dont|never) (?:ever )?{_MAIL}\w{{0,4}} (?:me|us)(?: (?:again|any ?more"
        rf"|any further|ever|in (?:the )?future))?(?:[.!,]|$|\s(?:again|any|ever|in (?:the )?future"
        rf"|with|or|about (?:this|these|that|your|any)))",
        r"\b(?:do not|don't|dont|no longer) (?:want|wish) to (?:receive|be contacted|hear from"
        r"|get)\b|\b(?:no|not receive any) (?:more|further) (?:e-?mails?|messages|contact"
        r"|communications?)\b",
        r"\bcease and desist\b|\bright to (?:erasure|be forgotten|object)\b"
        r"|\bgdpr\b.{0,60}\b(?:delete|erase|remove)\b|\bno longer (?:contact|e-?mail|write)\b",
        rf"\b(?:nehmen sie|nimm|streichen sie|streiche|loschen sie|losche|entfernen sie|entferne"
        rf"|tragen sie|trag) (?:mich|uns|meine?\b|diese)(?! nicht)[\w\s,.-]{{0,50}}(?:{_LIST}|daten"
        rf"|adresse|\baus\b)",
        r"\b(?:keine|nicht) (?:weiteren?|mehr)\b[\w\s-]{0,25}(?:e-?mails?|nachrichten|mails"
        r"|kontakt\w{0,12}|werbung|anschreiben|schreiben|anfragen|zusendung\w{0,3})|\b(?:mails?"
        r"|e-?mails?|werbung|nachrichten) mehr (?:von|zu|schicken|senden|erhalten|bekommen)"
        r"|\bvon weiteren (?:e-?mails|mails|nachrichten|anfragen|kontakt\w{0,12}) (?:abzusehen"
        r"|absehen)",
        r"\brefrain from (?:further |any )?(?:contact|e-?mail|send|writ|call|messag)\w*|\blose my (?:e-?mail"
        r"|address|number|details)",
        r"\baus (?:dem|der|den|ihrer|ihrem|ihren|eurer|allen) (?:\w+ )?(?:e-?mail-?)?(?:verteiler\w{0,3}"
        r"|listen?|mailingliste|datenbank|adressliste|kartei)\b[\w\s]{0,20}(?:nehmen|entfernen|streichen|loschen"
        r"|austragen|raus)\b|\b(?:unterlassen sie|unterlasst|verzichten sie auf)[\w\s,]{0,25}(?:kontakt|mail"
        r"|e-mail|nachricht|anfrage|werbung|zusendung|an(?:zu)?schreiben)\w*|\bnicht (?:mehr|weiter|wieder"
        r"|noch einmal|nochmals?) (?:an(?:zu)?schreiben|(?:zu )?kontaktieren|anmailen|anzumailen"
        r"|belastigen)\b"
        r"|\baus der liste streichen\b",
        r"\b(?:mochte|will|bitte) (?:mich|uns)[\w\s]{0,30}(?:abmelden|abbestellen|austragen)\b"
        r"|\b(?:horen sie|hor) auf\b[\w\s,]{0,20}(?:schreiben|schicken|kontaktieren|mailen)"
        r"|\bschreiben sie mi(?:r|ch)[\w\s]{0,12}nicht (?:mehr|wieder)"
        r"|\bkontaktieren sie mich[\w\s]{0,12}nicht (?:mehr|wieder)"
        r"|\bwiderspr(?:eche|uch)\b[\w\s]{0,40}(?:meiner (?:personenbezogenen )?daten|werbung|werbezweck"
        r"|kontaktaufnahme)",
        r"\b(?:me|nous) (?:desabonner|desinscrire|retirer|supprimer|enlever|rayer)\b"
        r"|\b(?:desabonnez|desinscrivez|retirez|supprimez|enlevez|rayez)[- ](?:moi|nous|mon|mes)\b"
        r"|\bne plus (?:me |nous |m'|vouloir )?(?:contacter|recevoir|envoyer|ecrire|solliciter)"
        r"|\bne pas (?:me |nous )?(?:contacter|ecrire|solliciter|recevoir)(?! (?:sur|pour|a propos"
        r"|concernant))"
        r"|\bne (?:me|nous|m') ?(?:contactez|ecrivez|envoyez|sollicitez) (?:plus|pas)"
        r"|\bne (?:souhaite|veux|desire) (?:plus|pas) (?:recevoir|etre contacte|etre sollicite)"
        r"|\barretez de (?:m'|me|nous)|\bcessez de (?:m'|me|nous)",
        r"\b(?:dar(?:me|nos)|denme|deme|dame|dadme|dadnos|dennos) de baja\b|\bno (?:me |nos )?(?:escrib"
        r"|contact|envi"
        r"|mand|molest)\w{1,6}[\w\s]{0,20}\bmas\b|\bno (?:quiero|deseo) (?:recibir|que me|mas)\b"
        r"|\bdej(?:ad|en|es|a|e) de (?:enviar|escribir|contactar|mandar|molestar)\w{0,4}"
        r"|\b(?:elimin|borr|quit|retir)\w{1,5}(?:me|nos)? (?:mis? (?:datos|correo|email"
        r"|direccion)|de (?:su|la|tu|vuestra))"
        r"|\bno (?:me |nos )?(?:vuelv|volv)\w{1,5} a (?:escribir|contactar|enviar|mandar"
        r"|llamar|molestar)\w{0,3}",
        r"\b(?:schrijf|meld) (?:mij|me|ons)(?: aub| alstublieft| graag)? (?:uit|af)\b"
        r"|\b(?:verwijder|haal) (?:mij|me|ons|mijn)\b[\w\s-]{0,40}|\bgeen (?:verdere "
        r"|e-?)?(?:mails?|e-?mails?|berichten) meer\b(?! over )|\b(?:mail|contacteer|benader|stuur"
        r"|schrijf) (?:mij|me|ons)\b[\w\s]{0,15}\bniet meer|\b(?:stop met|wil niet meer|wens geen"
        r"|wil geen)[\w\s]{0,20}(?:mailen|mails|sturen|benaderd|contact|ontvangen|schrijven)"
        r"|\b(?:mij|me|ons) (?:graag )?(?:uitschrijven|afmelden)\b|\bgraag (?:uitschrijven|afmelden)\b"
        r"|\bstop met (?:mij |me |ons )?(?:te )?(?:mail|stur|benader|contact|schrijv|spam)\w{0,6}"
        r"|\bniet (?:meer|langer) (?:te )?(?:mailen|benaderen|contacteren|aanschrijven|bellen)\b",
        r"\b(?:remov|retir|exclu|delet|descadastr|elimin)\w{1,4}(?:-?me| meu| o meu| os meus"
        r"| meus)\b|\b(?:me|favor) (?:remov|retir|exclu|descadastr|tir)\w{1,3}\b"
        r"|\bnao (?:me )?(?:envi|mand|escrev|contat|contact)\w{1,5}(?: me"
        r"|-me)?[\w\s]{0,20}\bmais\b|\bnao (?:quero|desejo|gostaria de)(?: mais)? (?:receber"
        r"|ser contat|ser contact|mais)|\bpar(?:a|e|em|ar) de (?:me |nos )?(?:enviar|mandar|escrever|contat"
        r"|contact)\w*|\bnao entr\w{1,3} (?:mais )?em contac?to|\bnao precisam? (?:mais )?(?:me )?(?:de )?"
        r"(?:enviar|mandar|escrever)\b(?! (?:o|a|os|as) )"
        r"|\bcancelar (?:a |minha )?(?:minha )?(?:inscricao|subscricao|assinatura)",
        r"\bdisiscri\w{2,8}\b|\bapag\w{1,4}-me\b|\b(?:rimuov|cancell|toglie|elimin)\w{0,6}(?:mi|temi)\b"
        r"|\b(?:rimuov|cancell"
        r"|elimin)\w{1,4} (?:il mio|i miei|la mia)\b|\bnon (?:mi |ci )?(?:contatt|scriv|mand"
        r"|invi)\w{1,6}(?:mi|temi)? (?:piu|mai piu)|\bnon (?:voglio|desidero"
        r"|intendo) (?:piu )?(?:ricevere|essere contatt)|\bsmett\w{1,5} di (?:scriv|contatt|mand"
        r"|invi)\w{1,6}|\bnon (?:scriv|contatt|mand|invi)\w{2,6} piu",
    )
)
_DENIED = re.compile(
    r"\b(?:don't|do not|dont|please don't|never|not|nicht|ne|no|niet|nao|non|didn't|did not"
    r"|wasn't|isn't)\s"
    r"(?:(?!(?:and|und|et|y|e|en|ed|but|aber|mais|pero|maar|mas|ma)\s)\w{1,12}\s){0,3}$"
)
_REPORTED = re.compile(
    r"\b(?:if (?:you|they|he|she|we|people|someone)|when (?:people|someone)|our (?:customers"
    r"|users|clients)|they|he|she|(?:un)?able to|before you|why did (?:you|they)|did (?:you"
    r"|they)|accidentally|by mistake)\b[^.!?]{0,40}$"
)
_SUBJECT = re.compile(
    r"(?:unsubscribe|opt[ -]?out|list-unsubscribe"
    r"|remove)\b[\s:#_=.-]{0,5}[\w.:=+/@<>-]{0,200}(?: (?:me|request|list|from .{1,60}))?$"
)
_UNSUBSCRIBE_ADDRESS = re.compile(r"(?:^|[+._-])(?:unsub|unsubscribe|optout|opt-out)(?:$|[+._=-])")


def by_header(message: Part, to_addresses: tuple[str, ...], fresh: str) -> str:
    """Evidence that a mail program answered our List-Unsubscribe address for a person (RFC 2369), or ``."""
    core, _ = subject_core(message.get("subject"))
    if _SUBJECT.match(core) and (not core.startswith("remove") or not fresh):
        return "subject asks to unsubscribe (RFC 2369 mailto)"
    for address in to_addresses:
        if _UNSUBSCRIBE_ADDRESS.search(address.partition("@")[0].lower()) and len(fresh) <= _SHORT_CHARS:
            return "sent to an unsubscribe address"
    return ""


def by_text(fresh: str) -> str:
    """Evidence that the fresh text asks for it, or ``."""
    folded = fold(fresh[: TEXT_LIMIT_CHARS * 2])[:TEXT_LIMIT_CHARS]
    lines = [fold(line[:300]) for line in fresh[:TEXT_LIMIT_CHARS].split("\n") if line.strip()][:3]
    for candidate in (folded, *lines[:1], *(lines[1:2] if len(lines) <= 3 else ())):
        if len(candidate) <= _SHORT_CHARS and _bare(candidate) in _WORDS and len(folded) <= 4 * _SHORT_CHARS:
            return f"says only: “{_bare(candidate)}”"
    last = _bare(_SENTENCE_END.split(folded)[-1]) if len(folded) <= _SHORT_CHARS else ""
    if last in _CLEAR_WORDS:
        return f"ends in: “{last}”"
    for pattern in _REQUESTS:
        for match in pattern.finditer(folded):
            before = folded[max(0, match.start() - 60) : match.start()]
            if not _DENIED.search(before) and not _REPORTED.search(before):
                return f"asks not to be written to: “{match[0][:80].strip()}”"
    return ""


def _bare(folded: str) -> str:
    plain = _POLITE.sub("", folded, count=1).strip(" .!,;:*_\"'()-")
    return _AFTER.sub("", plain).strip(" .!,;:*_\"'()-") or plain

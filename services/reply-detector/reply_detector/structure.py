"""How the sentences of a standing note are built, in seven languages: what phrases can't list, because other
words stand between.

Everything is folded as `fresh_text.fold` does. A pattern never leaves its sentence, and a language's patterns
are only tried on a text that has one of that language's commonest words.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Language:
    """The patterns of one language by what they say, and the words that give the language away."""

    common: frozenset[str]
    patterns: dict[str, re.Pattern[str]]


_GAP = re.compile(r"~(\d+)")


def _gap(match: re.Match[str]) -> str:
    return rf"[^.!?\n]{{0,{match[1]}}}?"


def _language(common: str, **patterns: str) -> _Language:
    return _Language(
        frozenset(common.split()),
        {
            name.replace("_", " "): re.compile(rf"\b(?:{_GAP.sub(_gap, source)})", re.VERBOSE)
            for name, source in patterns.items()
        },
    )


ABSENCE, MACHINE, RECEIPT = "absence", "machine", "receipt"
FORMULAS = ("limited access", "another contact", "answer on return")  # as `vocabulary.FORMULAS` names them

# `~30` stands for up to thirty characters of the same sentence.
_LANGUAGES = (
    _language(
        "i i'm i'll i've we we're we'll our my the this your for to is until",
        absence=r"""
            (?:i'm|i\sam|i'll\sbe|i\swill\sbe|i\sshall\sbe|we're|we\sare|we'll\sbe
            |we\swill\sbe)\s(?:\w+\s){0,4}?(?:away\s(?:from|on|at|for|until|till|with|this|in|attending
            |visiting)|absent|abroad|unplugged|unreachable|on\s(?:[\w-]+\s){0,4}(?:leave|vacation|holidays?
            |break|sabbatical|trip|retreat|honeymoon)|off\s(?:work|duty|sick|grid|the\sgrid|until|till|from
            |this\sweek|today|on\s(?:\w+\s)?leave)|taking\s(?:\w+\s){0,4}(?:off|leave|break|holiday
            |vacation)|in\s(?:\w+\s){0,2}meetings?\s?[.,\n]|enjoying\s(?:\w+\s){0,3}(?:leave|vacation
            |holidays?|break|time\soff)|(?:attending|visiting|travell?ing|closed)\b)|(?:office|offices|shop
            |studio|company|team|practice|store|helpdesk)\s(?:is|are|will\sbe|remains?)\s~24(?:closed|shut
            |unavailable)\b|(?:you(?:'ve|\shave|\sare)?\s\w+\s(?:to\s)?(?:us\s
            |me\s)?)?outside\s(?:of\s)?(?:our\s|my\s|normal\s|regular\s)*(?:business|office|working|opening
            |support)\shours|(?:our|my)\s(?:\w+\s){0,2}(?:business|office|opening|support
            |service)\shours\sare|(?:no\slonger|not)\s~16(?:work(?:s|ing)?|employed|with|part\sof
            |a\smember\sof)\s(?:for\s|at\s|with\s|of\s)?(?:this|the|our)\s(?:company|organi[sz]ation|firm
            |team|business)|(?:i|she|he)(?:'ve|\shave|\shas)?\s(?:recently\s|now\s|since\s)?(?:left
            |moved\son\sfrom|departed)\s(?:the\scompany|my\s(?:role|position|post)|the\sorgani[sz]ation)
            |(?:i|we)\swill\sbe\sleaving\sthe\scompany|last\s(?:working\s)?day\s(?:at|with|in)\s~24(?:was
            |is)\b|(?:our|the|my)\s(?:\w+\s)?(?:team|office|company|colleagues|staff|department)\s(?:is|are
            |will\sbe)\s~20(?:away|out\sof\sthe\soffice|on\s(?:[\w-]+\s){0,3}(?:leave|holidays?|vacation
            |retreat|break))|(?:i|we)\s(?:only\s)?(?:answer|read|check|respond\sto|reply\sto
            |work)\s~40(?:\bonly\b|(?:mon|tues|wednes|thurs|fri)days\b)|(?:high|large|unusual|increased
            |heavy)\s(?:\w+\s)?(?:volume|number|amount)\sof\s(?:\w+\s)?(?:e-?mails?|messages|requests
            |enquiries|inquiries)|(?:vacation|annual\sleave|holidays?)\s(?:from|until|through
            |till)\s(?!work)
        """,
        machine=r"""
            (?:mailbox|inbox|account|e-?mail\saddress|address)\s~24(?:no\slonger|deactivated|disabled
            |decommissioned|discontinued|closed|unattended|unmonitored|inactive
            |not\s(?:being\s)?(?:monitored|read|attended))\b|(?:please\s)?do\snot\s(?:reply
            |respond)\sto\sthis\s(?:e-?mail|message|address|automated)|(?:e-?mails?|messages?
            |mail)\s~40(?:will|are|is|be)\s(?:not|never)\s~12(?:read|forwarded|answered|processed|redirected
            |monitored|checked|delivered)\b|(?:e-?mails?|messages?|mail)\s~40(?:will\sbe|are|is
            |get)\s(?:\w+\s){0,2}(?:deleted|discarded)\b|(?:mailbox|inbox|account|e-?mail\saddress
            |address)\s(?:used\sto\sbelong|belonged|belongs)\sto
        """,
        receipt=r"""
            your\s(?:\w+\s){0,2}(?:e-?mail|message|request|enquiry|inquiry|query|application|ticket|call
            |case|mail)\s(?:has\sbeen|was|is\sbeing|is\snow|have\sbeen|will\sbe)\s(?:\w+\s){0,2}(?:received
            |logged|registered|recorded|assigned|forwarded|queued|passed|processed|handled|reviewed)\b|(?:we
            |i)\s(?:aim|endeavou?r|try|strive|will\sdo\sour\sbest)\sto\s(?:\w+\s)?(?:reply|respond|answer
            |get\sback)|we(?:'ve|\shave)?\s(?:\w+\s)?received\syour
        """,
        limited_access=r"""
            (?:access|connectivity|signal|reception|wi-?fi|internet|connection)\s~20(?:limited|restricted
            |sporadic|intermittent|irregular|unreliable)|(?:limited|little|no|irregular|sporadic|infrequent
            |minimal|occasional|reduced|restricted|without)\s(?:\w+\s){0,3}(?:access|connectivity|internet
            |signal|wi-?fi)\b|(?:not|n't|never|rarely|infrequently|only)\s(?:\w+\s){0,4}(?:checking|check
            |reading|read|monitoring|monitor|looking\sat|accessing|access
            |answering)\s(?:\w+\s){0,3}(?:e-?mails?|messages?|mail|inbox)|(?:check|checking|read|monitor
            |monitoring)\s(?:\w+\s){0,3}(?:e-?mails?|messages?|mail|inbox)\s(?:only|infrequently
            |occasionally|periodically|from\stime|once|sporadically|intermittently|less)|(?:not|n't
            |never)\s(?:be\sable\sto\s)?(?:see|open|get\sto|look\sat|receive)\syour\s(?:e-?mail|message|note
            |mail)
        """,
        another_contact=r"""
            (?:contact|email|e-mail|call|write\sto|reach\sout\sto|speak\sto|get\sin\stouch\swith|refer\sto
            |turn\sto|ask)\s(?!me\b|us\b|you\b|for\b|at\b)\w+\s~24(?:for|at|on|if|via|with|who|instead
            |regarding)\b|(?:redirect|direct|address|send|forward|submit)\s(?:all\s|any\s)?(?:your\s
            |further\s)?(?:\w+\s)?(?:enquir|inquir|quer|request|message|e-?mail|correspondence)\w*\s~24to\b
        """,
        answer_on_return=r"""
            (?:i|we)(?:'ll|\swill|\sshall)\s(?:\w+\s){0,3}(?:reply|respond|answer|get\sback|get\sto
            |come\sback|be\sin\stouch|be\s(?:answering|replying|responding|reading|working)|deal|attend
            |address|review|read|process|reach\sout|return|resume)\b~60(?:return|back|then|soon|earliest
            |possible|shortly|hours|days|that|messages?|e-?mails?)\b|(?:reply|response|answer|respond
            |replies)\s~30(?:delayed|slower|longer|later\sthan|as\ssoon\sas)|(?:expect
            |allow)\s(?:\w+\s){0,3}(?:reply|response|delay)|(?:may|might|will|can|could)\stake\s~24(?:longer
            |while|days|time|hours)\b|\bback\s(?:at|to|in)\s(?:my|our|the)\s(?:desk|office|work)
            |monday\s(?:to|through|until)\sfriday
        """,
    ),
    _language(
        "ich wir ihre ihr mein meine unser unsere bin das die deine der und ist bis im diese nicht",
        absence=r"""
            (?:bin\sich|ich\sbin|ich\sbefinde\smich|befinde\sich\smich|wir\ssind|sind\swir
            |wir\sbefinden\suns|ich\swerde|werde\sich)\s~70(?:nicht\s(?:\w+\s){0,4}(?:erreichbar|verfugbar
            |da\b|anwesend|im\s(?:buro|haus|hause|dienst|office|einsatz|homeoffice|geschaft|betrieb)
            |am\s(?:platz|arbeitsplatz|schreibtisch)|in\sder\s(?:agentur|kanzlei|firma|praxis|redaktion
            |schule|uni|abteilung))|abwesend|verhindert|unterwegs|(?:im|in|auf)\s(?:\w+\s){0,3}(?:urlaub
            |elternzeit|mutterschutz|dienstreise|geschaftsreise|reisen|ferien|fortbildung|schulung
            |weiterbildung|seminar|auszeit|sabbatical|besprechung(?:en)?|meetings?|terminen)|ausser\shaus
            |krank(?:geschrieben|gemeldet)?\b|im\skrankenstand|offline|verreist)|(?:buro|kanzlei|praxis
            |betrieb|geschaft|unternehmen|firma|verwaltung|sekretariat|zentrale)\s(?:\w+\s){0,3}?(?:ist|sind
            |bleibt|bleiben|hat|haben)\s~50(?:geschlossen|nicht\sbesetzt|ferien|urlaub)|(?:sie\s\w+\s(?:uns
            |mich)\s)?ausserhalb\s(?:unserer|meiner|der)\s(?:\w+\s)?(?:geschafts|buro|offnungs|sprech
            |arbeits|service)zeiten|(?:unsere|meine)\s(?:buro|offnungs|sprech|geschafts|service)zeiten\ssind
            |nicht\s(?:mehr|langer)\s~24(?:tatig|beschaftigt|angestellt|mitarbeiter|teil)|(?:unternehmen
            |firma|haus)\s(?:\w+\s){0,3}verlassen|(?:sehr\s|besonders\s)?(?:viele|hohe[smn]?|zahlreiche
            |erhohte[smn]?|grosse[smn]?)\s~12(?:anfragen|nachrichten|mails|aufkommen|anrufe)\b
            |(?:sie\s)?erreichen\s(?:sie\s)?(?:mich|uns)\s~16nicht|(?:geniesse|verbringe|mache|nehme
            |habe)\s(?:ich\s)?~30(?:urlaub|freie|auszeit|ferien|pause|elternzeit)|nicht\sim\sbuero|(?:urlaub
            |abwesenheit)\s(?:vom|von|bis)\s\d
        """,
        machine=r"""
            (?:postfach|adresse|konto|e-?mail-?(?:adresse|konto)|account)\s~30(?:nicht\s(?:mehr|langer
            |uberwacht|gelesen)|deaktiviert|abgeschaltet|gesperrt|stillgelegt|inaktiv|geschlossen|aufgelost)
            |(?:e-?mails?|mails?|nachricht(?:en)?)\s~40(?:nicht|weder|nie)\s~30(?:gelesen|weitergeleitet
            |bearbeitet|beantwortet|abgerufen|umgeleitet|zugestellt)|(?:e-?mails?|mails?
            |nachricht(?:en)?)\s~40(?:automatisch|ungelesen)\s~12geloscht|(?:e-?mail|mail|nachricht
            |antwort)\s~20automatisch\s(?:ver\w+|ge\w+|er\w+)|(?:bitte\s)?(?:nicht\sauf\sdiese
            |antworten\ssie\s(?:bitte\s)?nicht)\s(?:e-?mail|mail|nachricht|auf)
        """,
        receipt=r"""
            (?:ihre|deine|ihr|dein)\s(?:\w+\s){0,2}(?:e-?mail|mail|nachricht|anfrage|anliegen|bewerbung
            |schreiben)\s(?:\w+\s){0,2}(?:erhalten|eingegangen|registriert|erfasst|weitergeleitet)
        """,
        limited_access=r"""
            (?:kein(?:e|en|erlei)?|eingeschrankte[nr]?|begrenzte[nr]?|beschrankte[nr]?
            |nur\s\w+)\s(?:\w+\s){0,2}(?:zugriff|zugang|internet|empfang|netz|wlan)|(?:lese|rufe|prufe
            |bearbeite|beantworte|checke|sehe)\s~30(?:mails?|e-?mails?|nachrichten|posteingang)\s~20(?:nicht
            |kein\w*|nur|selten|unregelmassig|gelegentlich)|(?:mails?|e-?mails?|nachrichten)\s~24(?:nicht
            |nur|selten|sporadisch|unregelmassig|gelegentlich)\s~20(?:lesen|abrufen|bearbeiten|beantworten
            |gelesen|abgerufen|bearbeitet|beantwortet)
        """,
        another_contact=r"""
            (?:wenden|richten|schreiben|melden|kontaktieren|rufen|senden)\s(?:sie|sich|euch
            |dich)\s~50(?:an\b|unter\b|bei\b|\w+@)|(?:hilft|helfen|unterstutzt|ubernimmt|vertritt)\s(?:sie
            |ihnen|dir|mich|in|wahrend|meine)\b
        """,
        answer_on_return=r"""
            (?:werde|werden|melde|melden|antworte|antworten|beantworte|beantworten|bearbeite|kummere|kummern
            |komme)\s(?:ich|wir|mich|uns|sie|ihnen|dir|ihre|ihr|deine|auf|sobald|umgehend
            |so)\b~70(?:ruckkehr|zuruck|moglich|umgehend|zeitnah|danach|bald|wieder|melden|antworten
            |beantworten|bearbeiten|bei\sihnen|bei\sdir|urlaub)|(?:ab|am)\s~24(?:stehe|bin|sind
            |stehen)\s(?:ich|wir)\s~20(?:wieder|zur\sverfugung)|(?:sie\serreichen|erreichen\ssie
            |ihr\serreicht|du\serreichst)\s(?:mich|uns)\s~20(?:wieder|ab)|(?:antwort|antworten|bearbeitung
            |ruckmeldung)\s~30(?:langer|verzoger\w+|dauern)|zuruck\s(?:am|im|an)\s(?:schreibtisch|buro
            |arbeitsplatz|platz)|(?:montags?|mo)\sbis\sfreitags?
        """,
    ),
    _language(
        "je j'ai nous notre votre suis serai vous mon le les du est et des cette",
        absence=r"""
            (?:je\s(?:suis|serai)|nous\s(?:sommes|serons)|je\sme\strouve|etant)\s~50(?:absent|indisponible
            |injoignable|occupee?\b|en\s(?:\w+\s){0,2}(?:conges?|vacances|deplacement|formation|reunions?
            |arret|repos|voyage|seminaire|mission|rtt|teletravail\spartiel)|hors\sdu\sbureau
            |pas\s(?:\w+\s){0,3}(?:au\sbureau|disponible|joignable|present|a\smon\s(?:poste|bureau))
            |a\sl'etranger)|(?:bureau|bureaux|agence|cabinet|societe|entreprise|magasin|etablissement
            |service|secretariat)\s~30(?:ferme|fermes|fermee|fermees|fermera|fermeront)\b
            |en\sdehors\s(?:de\snos|des)\s(?:heures|horaires)|nos\s(?:bureaux|horaires)\s~12(?:sont|seront)
            |ne\s(?:fais|fait|travaille|suis|est)\splus\s~16(?:partie|dans|chez|pour|au\ssein|en\sposte)
            |quitte\s(?:\w+\s)?(?:la\ssociete|l'entreprise|mes\sfonctions|mon\sposte|l'equipe)
            |(?:grand\snombre|volume\simportant|forte\saffluence|nombreuses|nombreux)\s~14(?:demandes
            |messages|mails|courriels)|(?:je|nous)\s(?:profite|profitons|prends|prenons)\s~40(?:conges?
            |vacances|repos|pause)|font?\sle\spont|(?:vacances|conges?)\sdu\s\d|(?:vous\s(?:informe
            |confirme)\s~24)?(?:mon|d')\s?absence\sdu\b|nous\s(?:sommes|serons)\s~30fermes?\b
        """,
        machine=r"""
            (?:adresse|boite|messagerie|compte)\s~24(?:n'est\s(?:plus|pas)|desactivee?|supprimee?|fermee?)
            |(?:e-?mails?|mails?|messages?|courriels?)\s~30(?:ne\s(?:sera|seront|sont)|n'est|ni)\s~16(?:lus?
            |lue|transferes?|transmis|traites?|consultes?|rediriges?)|(?:merci
            |priere)\sde\sne\spas\s(?:y\s)?repondre|ne\s(?:repondez\spas|pas\srepondre)\sa\sce|(?:cesse
            |cessera)\sd'etre\s(?:relevee?|consultee?|lue?)
        """,
        receipt=r"""
            votre\s(?:\w+\s){0,2}(?:message|demande|courriel|mail|e-?mail|candidature)\s(?:a|est
            |sera)\s(?:\w+\s){0,3}(?:recue?|enregistree?|transmise?|traitee?|prise?\sen\s(?:compte|charge)
            |parvenue?)
        """,
        limited_access=r"""
            (?:sans|pas|peu|aucun|acces|avec)\s~16(?:acces|limite|restreint|ponctuel
            |irregulier)\s~24(?:mails?|e-?mails?|messagerie|messages?|courriels?|internet|boite)|(?:consulte
            |lis|lirai|consulterai|releve|releverai)\s~30(?:mails?|messagerie|messages?|courriels?|boite)
        """,
        another_contact=r"""
            (?:contacter|contactez|joindre|adresser|adressez|ecrire|ecrivez|appeler|solliciter)\s(?!-?moi\b
            |me\b)\w+|(?:prend|prendra|prennent|assure|assurera)\s(?:le\srelais|la\ssuite|la\scontinuite
            |l'interim)
        """,
        answer_on_return=r"""
            (?:je|nous)\s(?:(?:vous|te|ne|manquerai|manquerons|pas|de|y|le|la|les
            |m'efforcerai)\s){0,5}(?:repondr\w+|recontacter\w*|reviendr\w+|traiter\w+|contacter\w+
            |prendr\w+\s(?:connaissance|contact)|donner\w+\ssuite|lirai)|(?:repon\w+|recontact\w+
            |traite\w*)\s~40(?:mon|des|notre|le)\sretour|(?:reponse|delai|delais
            |traitement)\s~30(?:plus\slong|allonge|retarde|delai)|lundi\sau\svendredi
        """,
    ),
    _language(
        "estoy estare estamos estaremos me mi nuestra nuestro su gracias encuentro por el los del hasta "
        "este con puede correo hola",
        absence=r"""
            (?:estoy|estare|estamos|estaremos|me\sencuentro|nos\sencontramos|me\sencontrare)\s~50(?:ausente
            |fuera\s(?:de|del|por|hasta|en)|de\s(?:\w+\s){0,2}(?:vacaciones|viaje|baja|permiso|licencia
            |descanso|excedencia)|en\s(?:un|una|el|la)?\s?(?:\w+\s)?(?:congreso|feria|reunion|reuniones
            |formacion|curso|evento|viaje)|disfrutando|desconectad|no\sdisponible)|no\s(?:estoy|estare
            |me\sencuentro|estamos|estaremos)\s~24(?:disponible|en\s(?:la|mi|nuestra)\s(?:oficina|puesto
            |despacho)|operativ)|(?:oficina|oficinas|empresa|despacho|tienda|centro)\s~30(?:cerrad|cierra
            |cerrara|permanecer)\w*|fuera\sde(?:l|\snuestro|\smi)?\shorario|(?:nuestro
            |mi)\shorario\s(?:de\s\w+\s|laboral\s)?es\b|ya\sno\s~20(?:trabaj|labor|form|pertenec|colabor)\w+
            |(?:alto|gran|elevado)\s(?:volumen|numero|cantidad)\sde\s(?:correos|mensajes|solicitudes
            |consultas)|(?:vacaciones|ausencia)\sdel\s\d|(?:estamos|estaremos|permaneceremos)\s~20cerrad
        """,
        machine=r"""
            (?:cuenta|buzon|correo|direccion|casilla)\s~30(?:desactivad|deshabilitad|dad[oa]\sde\sbaja
            |inactiv|no\s(?:es|esta)\s(?:\w+\s)?(?:monitor|revis|supervis|activ|operativ|en\suso)|cerrad)\w*
            |(?:correos?|mensajes?|emails?)\s~30no\sser(?:a|an)\s~12(?:leid|reenviad|atendid|redirigid
            |respondid)\w+|no\s(?:responder|responda|conteste|contestar|respondas)\s(?:a\s)?(?:este|esta)
            |(?:correos?|mensajes?|emails?)\s~40(?:eliminad|borrad)\w+\sautomatic|(?:cuenta|buzon|direccion
            |correo)\s~24(?:deja(?:ra)?|dejo|ha\sdejado)\sde\b
        """,
        receipt=r"""
            (?:su|tu)\s(?:\w+\s)?(?:mensaje|correo|solicitud|consulta|peticion|email
            |candidatura)\s(?:ha\ssido|fue|sera|esta\ssiendo)\s(?:\w+\s){0,2}(?:recib|registr|reenvi|atend
            |proces|deriv)\w+
        """,
        limited_access=r"""
            (?:sin|acceso|poco|escaso|no\s(?:tendre|tengo|dispongo))\s~20(?:acceso|limitado|restringido
            |intermitente|esporadico)\s~30(?:correos?|e-?mails?|mails?|internet|buzon|mensajes)|no\s(?:leere
            |revisare|consultare|leo|reviso|podre\s(?:leer|revisar|consultar))\s~20(?:correos?|e-?mails?
            |mensajes?)
        """,
        another_contact=r"""
            (?:contact\w+|escrib\w+|llam\w+|dirij\w+|dirig\w+|localiz\w+|remit\w+)\s~16(?:con|a|al
            |en)\s(?!mi\b|me\b)\w+
        """,
        answer_on_return=r"""
            (?:responder|contestar|atender|revisar|contactar|comunicar|leer)(?:e|emos)\b~60(?:regreso|vuelta
            |regrese|vuelva|reincorpor\w+|posible|brevedad|correos?|mensajes?|e-?mails?|vuelvo|antes)
            |volver(?:e|emos)\sa\s(?:leer|responder|atender|estar)|me\spondre\sen\scontacto|nos\spondremos
            |a\s(?:mi|la)\s(?:vuelta|regreso)|(?:trata|tratare|procurare)\s~12(?:respond|contest)\w+
            |lunes\sa\sviernes
        """,
    ),
    _language(
        "ik wij we mijn ons onze uw je ben u het een van tot voor niet dit",
        absence=r"""
            (?:ben\sik|ik\sben|ik\szit|wij\szijn|we\szijn|zijn\swij|zijn\swe|ik\sbevind\smij)\s~60(?:afwezig
            |niet\s(?:\w+\s){0,3}(?:aanwezig|bereikbaar|beschikbaar|op\s(?:kantoor|mijn\swerk\w*|het\swerk)
            |in\sde\sgelegenheid|werkzaam)|(?:met|op)\s(?:\w+\s){0,2}(?:vakantie|verlof|reis|zakenreis
            |cursus|training|pensioen)|vrij\b|ziek\b|in\s(?:het\sbuitenland|vergadering|bespreking)
            |in\smeetings?|uit\skantoor|buiten\skantoor|op\seen\s(?:\w+\s)?(?:congres|beurs|conferentie
            |evenement|training))|(?:kantoor|bedrijf|winkel|praktijk|secretariaat)\s(?:is|zijn
            |blijft)\s~40gesloten|buiten\s(?:onze|de|mijn)?\s?(?:kantooruren|openingstijden|kantoortijden
            |werktijden|openingsuren)|(?:onze|mijn)\s(?:openingstijden|kantooruren|openingsuren)\szijn
            |(?:niet\smeer|niet\slanger)\s~20(?:werkzaam|in\sdienst|werk)|(?:grote|hoge|veel
            |groot)\s~14(?:drukte|aantal|berichten|mails|aanvragen)|(?:geniet|laad)\sik\b|ik\s(?:geniet
            |volg)\s~40(?:vakantie|vrije|rust|verlof|opleiding|cursus|training)|niet\s(?:meer
            |langer)\sbij\s(?:dit|het|deze|ons)\b
        """,
        machine=r"""
            (?:mailbox|postvak|account|e-?mailadres|adres)\s~30(?:niet\s(?:meer|langer)|opgeheven
            |gedeactiveerd|gesloten|buiten\sgebruik)|(?:e-?mails?|mails?|bericht(?:en)?)\s~30(?:niet
            |noch)\s~16(?:gelezen|doorgestuurd|beantwoord|behandeld|bekeken|doorgezonden)
            |(?:niet\sop\s(?:dit|deze)|gelieve\sniet)\s~16(?:bericht|mail|antwoorden|beantwoorden)
        """,
        receipt=r"""
            (?:uw|je|jouw)\s(?:\w+\s)?(?:bericht|mail|e-?mail|aanvraag|vraag|verzoek
            |sollicitatie)\s~16(?:ontvangen|geregistreerd|binnengekomen|doorgestuurd|in\sbehandeling)
        """,
        limited_access=r"""
            (?:geen|beperkte?|nauwelijks|weinig|slechts)\s(?:\w+\s){0,2}(?:toegang|bereik|internet|wifi)
            |(?:lees|check|bekijk|beantwoord)\s~30(?:mails?|e-?mails?|berichten|mailbox)\s~16(?:niet|geen
            |af\sen\stoe|beperkt|sporadisch)|(?:mails?|e-?mails?|berichten)\s~16(?:niet|beperkt|af\sen\stoe
            |sporadisch)\s~12(?:lezen|bekijken|checken|beantwoorden|gelezen)
        """,
        another_contact=r"""
            (?:mail|bel|stuur|richt|neem|contacteer|schrijf)\s~40(?:contact|aan|naar|met|dan)\b
        """,
        answer_on_return=r"""
            (?:zal|zullen|beantwoord|beantwoorden|reageer|reageren|antwoord|kom|neem|pak)\s(?:ik|wij|we|uw
            |je|op|u|mijn)\b~70(?:terugkomst|terugkeer|terug|mogelijk|spoedig|contact|beantwoorden|reageren
            |bereikbaar|daarna|weer|op\b)|(?:ben|zijn|sta|staan)\s(?:ik|wij|we)\s~20(?:weer|terug)|(?:vanaf
            |op)\s~24(?:weer|terug)\s(?:bereikbaar|aanwezig|op\skantoor|aan\shet\swerk|op\spost)
            |maandag\s(?:t/m|tot(?:\sen\smet)?)\svrijdag
        """,
    ),
    _language(
        "estou estarei estamos estaremos encontro-me me meu minha nosso seu sua obrigado nao o ate do da "
        "em para foi caixa ola",
        absence=r"""
            (?:estou|estarei|estamos|estaremos|encontro-me|me\sencontro|encontramo-nos)\s~50(?:ausente
            |fora\s(?:do|da|de|por|ate|em)|de\s(?:\w+\s)?(?:ferias|licenca|baixa|folga|viagem)
            |em\s(?:\w+\s){0,2}(?:ferias|viagem|licenca|reuniao|reunioes|formacao|treinamento|recesso|home)
            |indisponivel|a\sgozar)|nao\s(?:estou|estarei|me\sencontro|estamos|estaremos)\s~24(?:disponivel
            |no\s(?:escritorio|local)|na\sempresa|contactavel)|(?:escritorio|escritorios|empresa|loja
            |servicos?|instalacoes)\s~30(?:encerrad|fechad|encerra|fecha)\w*
            |fora\sd[eo](?:\snosso)?\s(?:horario|expediente)|(?:nosso|meu)\shorario\s(?:de\s\w+\s)?e\b
            |(?:ja\snao|nao)\s~16(?:trabalh\w+\s(?:mais|nesta|na|no)|faz\s(?:mais\s)?parte|integra|pertence)
            |nao\spodemos\satender|desligad[oa]\sda\sempresa|(?:grande|elevado|alto)\s(?:volume|numero
            |quantidade)\sde\s(?:e-?mails|mensagens|pedidos|solicitacoes|contactos)
        """,
        machine=r"""
            (?:conta|caixa|e-?mail|endereco)\s~30(?:desativad|desactivad|inativ|encerrad|descontinuad
            |nao\s(?:e|esta)\s(?:mais\s)?(?:monitor|utiliz|ativ|lid|em\suso))\w*|(?:e-?mails?|mensage(?:m
            |ns))\s~30nao\sser(?:a|ao)\s~12(?:lid|reencaminhad|encaminhad|respondid)\w+|nao\s(?:responda
            |responder|respondam)\sa?\s?(?:este|esta|essa|esse)|(?:caixa|conta|endereco
            |e-?mail)\s~24(?:deixou|deixara|deixa)\sde\b
        """,
        receipt=r"""
            (?:sua|seu|vossa)\s(?:mensagem|e-?mail|pedido|solicitacao|contato|contacto|candidatura)\s(?:foi
            |sera|esta\ssendo)\s(?:\w+\s){0,2}(?:recebid|registad|registrad|encaminhad|reencaminhad|analisad
            |respondid)\w+
        """,
        limited_access=r"""
            (?:sem|acesso|pouco|nao\s(?:terei|tenho))\s~20(?:acesso|limitado|restrito
            |intermitente)\s~24(?:e-?mails?|internet|correio|mensagens)|nao\s(?:lerei|verei|consultarei
            |irei\s(?:ler|consultar|verificar))\s~20(?:e-?mails?|mensagens|correio)
        """,
        another_contact=r"""
            (?:contact\w+|contat\w+|escrev\w+|dirij\w+|ligue|encaminh\w+|direcion\w+)\s~16(?:com|para|a|o|ao
            |atraves|pelo)\s\w+
        """,
        answer_on_return=r"""
            (?:responder|contactar|contatar|analisar|ler|retornar|voltar)(?:ei|emos)\b~60(?:regresso|retorno
            |possivel|breve|voltar|regressar|retornar|e-?mails?|mensage\w+|contato|contacto|atividades|data
            |seguida|dia)|(?:retornarei|retornaremos|voltarei|voltaremos|regressarei|entrarei|entraremos
            |darei)\b|volta(?:mos|rei|remos)\sa\s\w+|(?:retorno|volto|regresso)\s(?:dia|no|na|em|a|ao|depois
            |apos)\b|segunda(?:-feira)?\sa\ssexta
        """,
    ),
    _language(
        "sono saro siamo saremo non mio mia nostri la il per grazie di fino al dal questa",
        absence=r"""
            (?:sono|saro|siamo|saremo|mi\strovo|ci\stroviamo)\s~50(?:assent[ei]|fuori\s(?:ufficio|sede|citta
            |stanza|dall)|in\s(?:\w+\s){0,2}(?:ferie|vacanza|congedo|maternita|malattia|trasferta|viaggio
            |permesso|riunione|pausa|aspettativa)|all'estero|irreperibil)|non\s(?:sono|saro|siamo
            |saremo)\s~24(?:disponibil|raggiungibil|in\s(?:ufficio|sede)|reperibil|operativ)|(?:ufficio
            |uffici|azienda|studio|negozio|sede)\s~40(?:chius|chiudera|chiude)\w*|(?:ufficio|uffici|azienda
            |studio|negozio)\s(?:\w+\s)?(?:riapr)\w+|fuori\s(?:dal\s(?:nostro\s)?)?orario|(?:nostri|nostro
            |miei)\sorari\w?\s(?:di\s\w+\s)?(?:sono|e)\b|non\s~16(?:lavor\w+|fa|collabor\w+)\spiu|(?:elevato
            |grande|alto|gran)\s(?:numero|volume|quantita)\sdi\s(?:mail|e-?mail|messaggi|richieste)|(?:ferie
            |assenza)\sdal\s\d|(?:siamo|saremo|resteremo)\s~20chiusi
        """,
        machine=r"""
            (?:casella|indirizzo|account)\s~30(?:non\se\s(?:piu|monitorat|presidiat)|disattivat|dismess
            |chius)\w*|(?:e-?mail|mail|messaggi\w?)\s~30non\s(?:verra|verranno|sara|saranno)\s~12(?:lett
            |inoltrat|evas)\w+|non\srispondere\s(?:a\s)?(?:quest|all)
        """,
        receipt=r"""
            (?:sua|suo|tua|tuo|vostra|vostro)\s(?:\w+\s)?(?:mail|e-?mail|messaggio|richiesta
            |candidatura)\s(?:e\sstat|verra|sara)\w?\s(?:\w+\s){0,2}(?:ricevut|registrat|pres|inoltrat
            |gestit|evas)\w+
        """,
        limited_access=r"""
            (?:senza|accesso|poco|non\s(?:avro|ho))\s~20(?:accesso|limitato|saltuario|ridotto)\s~24(?:mail
            |e-?mail|posta|internet|messaggi)|non\s(?:leggero|leggo|controllero|consultero
            |potro\sleggere)\s~20(?:mail|e-?mail|posta|messaggi)
        """,
        another_contact=r"""
            (?:contatt\w+|scriv\w+|rivolg\w+|indirizz\w+|chiam\w+)\s~24(?:a|al|alla|il|la|lo|all)\b
        """,
        answer_on_return=r"""
            (?:(?:vi|le|ti)\s)?(?:risponder|ricontatter|contatter|legger|torner|rientrer)(?:o|emo)\b
            |(?:rispondo|ricontatto)\s(?:al|appena|quando|non)|(?:appena|non)\s~12(?:rientro|rientrato
            |possibile)|sara\smia\scura|lunedi\sal?\svenerdi
        """,
    ),
)


def told(text: str, words: frozenset[str], what: str) -> Iterator[str]:
    """The parts of a folded text that say `what` by their build."""
    for language in _LANGUAGES:
        if not language.common.isdisjoint(words):
            for found in language.patterns[what].finditer(text):
                yield found[0]

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
FORMULAS = ("limited access", "answer on return")  # as `vocabulary.FORMULAS` names them

# `~30` stands for up to thirty characters of the same sentence.
_LANGUAGES = (
    _language(
        "i i'm i'll i've we we're we'll our my the this your for to is until",
        absence=r"""
            (?:i'm|i\ am|i'll\ be|i\ will\ be|i\ shall\ be|we're|we\ are|we'll\ be|we\ will\ be)\ (?:\w+\ ){0,4}?
            (?:away\ (?:from|on|at|for|until|till|with|this|in|attending|visiting)|absent|abroad|unplugged
            |unreachable|on\ (?:[\w-]+\ ){0,4}(?:leave|vacation|holidays?|break|sabbatical|trip|retreat|honeymoon)
            |off\ (?:work|duty|sick|grid|the\ grid|until|till|from|this\ week|today|on\ (?:\w+\ )?leave)
            |taking\ (?:\w+\ ){0,4}(?:off|leave|break|holiday|vacation)|in\ (?:\w+\ ){0,2}meetings?\ ?[.,\n]
            |enjoying\ (?:\w+\ ){0,3}(?:leave|vacation|holidays?|break|time\ off)
            |(?:attending|visiting|travell?ing|closed)\b)
            |(?:office|offices|shop|studio|company|team|practice|store|helpdesk)\ (?:is|are|will\ be|remains?)\ ~24
            (?:closed|shut|unavailable)\b
            |outside\ (?:of\ )?(?:our\ |my\ |normal\ |regular\ )*(?:business|office|working|opening|support)\ hours
            |(?:our|my)\ (?:\w+\ ){0,2}(?:business|office|opening|support|service)\ hours\ are
            |(?:no\ longer|not)\ ~16(?:work(?:s|ing)?|employed|with|part\ of|a\ member\ of)\ (?:for\ |at\ |with\ |of\ )?
            (?:this|the|our)\ (?:company|organi[sz]ation|firm|team|business)
            |(?:i|she|he)(?:'ve|\ have|\ has)?\ (?:recently\ |now\ |since\ )?(?:left|moved\ on\ from|departed)
            \ (?:the\ company|my\ (?:role|position|post)|the\ organi[sz]ation)
            |(?:i|we)\ will\ be\ leaving\ the\ company|last\ (?:working\ )?day\ (?:at|with|in)\ ~24(?:was|is)\b
        """,
        machine=r"""
            (?:mailbox|inbox|account|e-?mail\ address|address)\ ~24(?:no\ longer|deactivated|disabled|decommissioned
            |discontinued|closed|unattended|unmonitored|inactive|not\ (?:being\ )?(?:monitored|read|attended))\b
            |(?:please\ )?do\ not\ (?:reply|respond)\ to\ this\ (?:e-?mail|message|address|automated)
            |(?:e-?mails?|messages?|mail)\ ~40(?:will|are|is|be)\ (?:not|never)\ ~12(?:read|forwarded|answered
            |processed|redirected|monitored|checked|delivered)\b
            |(?:e-?mails?|messages?|mail)\ ~40(?:will\ be|are|is|get)\ (?:\w+\ ){0,2}(?:deleted|discarded)\b
        """,
        receipt=r"""
            your\ (?:\w+\ ){0,2}(?:e-?mail|message|request|enquiry|inquiry|query|application|ticket|call|case|mail)
            \ (?:has\ been|was|is\ being|is\ now|have\ been|will\ be)\ (?:\w+\ ){0,2}(?:received|logged|registered
            |recorded|assigned|forwarded|queued|passed|processed|handled|reviewed)\b
            |(?:we|i)\ (?:aim|endeavou?r|try|strive|will\ do\ our\ best)\ to\ (?:\w+\ )?(?:reply|respond|answer|get
            \ back)
        """,
        limited_access=r"""
            (?:access|connectivity|signal|reception|wi-?fi|internet|connection)\ ~20(?:limited|restricted|sporadic
            |intermittent|irregular|unreliable)|(?:limited|little|no|irregular|sporadic|infrequent|minimal|occasional
            |reduced|restricted|without)\ (?:\w+\ ){0,3}(?:access|connectivity|internet|signal|wi-?fi)\b
            |(?:not|n't|never|rarely|infrequently|only)\ (?:\w+\ ){0,4}(?:checking|check|reading|read|monitoring
            |monitor|looking\ at|accessing|access|answering)\ (?:\w+\ ){0,3}(?:e-?mails?|messages?|mail|inbox)
            |(?:check|checking|read|monitor|monitoring)\ (?:\w+\ ){0,3}(?:e-?mails?|messages?|mail|inbox)\ (?:only
            |infrequently|occasionally|periodically|from\ time|once|sporadically|intermittently|less)
        """,
        answer_on_return=r"""
            (?:i|we)(?:'ll|\ will|\ shall)\ (?:\w+\ ){0,3}(?:reply|respond|answer|get\ back|get\ to|come\ back|be\ in
            \ touch|be\ (?:answering|replying|responding|reading|working)|deal|attend|address|review|read|process|reach\ out|return|resume)\b~60(?:return|back|then|soon
            |earliest|possible|shortly|hours|days|that|messages?|e-?mails?)\b
            |(?:reply|response|answer|respond|replies)\ ~30(?:delayed|slower|longer|later\ than|as\ soon\ as)
            |(?:expect|allow)\ (?:\w+\ ){0,3}(?:reply|response|delay)
        """,
    ),
    _language(
        "ich wir ihre ihr mein meine unser unsere bin das die deine der und ist bis im diese nicht",
        absence=r"""
            (?:bin\ ich|ich\ bin|ich\ befinde\ mich|befinde\ ich\ mich|wir\ sind|sind\ wir|wir\ befinden\ uns
            |ich\ werde|werde\ ich)\ ~70(?:nicht\ (?:\w+\ ){0,4}(?:erreichbar|verfugbar|da\b|anwesend|im\ (?:buro|haus
            |hause|dienst|office|einsatz|homeoffice|geschaft|betrieb)|am\ (?:platz|arbeitsplatz|schreibtisch)|in\ der
            \ (?:agentur|kanzlei|firma|praxis|redaktion|schule|uni|abteilung))|abwesend|verhindert|unterwegs
            |(?:im|in|auf)\ (?:\w+\ ){0,3}(?:urlaub|elternzeit|mutterschutz|dienstreise|geschaftsreise|reisen|ferien
            |fortbildung|schulung|weiterbildung|seminar|auszeit|sabbatical|besprechung(?:en)?|meetings?|terminen)
            |ausser\ haus|krank(?:geschrieben|gemeldet)?\b|im\ krankenstand|offline|verreist)
            |(?:buro|kanzlei|praxis|betrieb|geschaft|unternehmen|firma|verwaltung|sekretariat|zentrale)\ (?:\w+\ ){0,3}?
            (?:ist|sind|bleibt|bleiben|hat|haben)\ ~50(?:geschlossen|nicht\ besetzt|ferien|urlaub)
            |ausserhalb\ (?:unserer|meiner|der)\ (?:\w+\ )?(?:geschafts|buro|offnungs|sprech|arbeits|service)zeiten
            |(?:unsere|meine)\ (?:buro|offnungs|sprech|geschafts|service)zeiten\ sind
            |nicht\ (?:mehr|langer)\ ~24(?:tatig|beschaftigt|angestellt|mitarbeiter|teil)|(?:unternehmen|firma|haus)
            \ (?:\w+\ ){0,3}verlassen
        """,
        machine=r"""
            (?:postfach|adresse|konto|e-?mail-?(?:adresse|konto)|account)\ ~30(?:nicht\ (?:mehr|langer|uberwacht
            |gelesen)|deaktiviert|abgeschaltet|gesperrt|stillgelegt|inaktiv|geschlossen|aufgelost)
            |(?:e-?mails?|mails?|nachricht(?:en)?)\ ~40(?:nicht|weder|nie)\ ~30(?:gelesen|weitergeleitet|bearbeitet
            |beantwortet|abgerufen|umgeleitet|zugestellt)|(?:e-?mails?|mails?|nachricht(?:en)?)\ ~40
            (?:automatisch|ungelesen)\ ~12geloscht|(?:e-?mail|mail|nachricht|antwort)\ ~20automatisch\ (?:ver\w+|ge\w+|er\w+)|(?:bitte\ )?(?:nicht\ auf\ diese|antworten\ sie\ (?:bitte
            \ )?nicht)\ (?:e-?mail|mail|nachricht|auf)
        """,
        receipt=r"""
            (?:ihre|deine|ihr|dein)\ (?:\w+\ ){0,2}(?:e-?mail|mail|nachricht|anfrage|anliegen|bewerbung|schreiben)
            \ (?:\w+\ ){0,2}(?:erhalten|eingegangen|registriert|erfasst|weitergeleitet)
        """,
        limited_access=r"""
            (?:kein(?:e|en|erlei)?|eingeschrankte[nr]?|begrenzte[nr]?|beschrankte[nr]?|nur\ \w+)\ (?:\w+\ ){0,2}
            (?:zugriff|zugang|internet|empfang|netz|wlan)|(?:lese|rufe|prufe|bearbeite|beantworte|checke|sehe)\ ~30
            (?:mails?|e-?mails?|nachrichten|posteingang)\ ~20(?:nicht|kein\w*|nur|selten|unregelmassig|gelegentlich)
            |(?:mails?|e-?mails?|nachrichten)\ ~24(?:nicht|nur|selten|sporadisch|unregelmassig|gelegentlich)\ ~20
            (?:lesen|abrufen|bearbeiten|beantworten|gelesen|abgerufen|bearbeitet|beantwortet)
        """,
        answer_on_return=r"""
            (?:werde|werden|melde|melden|antworte|antworten|beantworte|beantworten|bearbeite|kummere|kummern|komme)
            \ (?:ich|wir|mich|uns|sie|ihnen|dir|ihre|ihr|deine|auf|sobald|umgehend|so)\b~70(?:ruckkehr|zuruck|moglich
            |umgehend|zeitnah|danach|bald|wieder|melden|antworten|beantworten|bearbeiten|bei\ ihnen|bei\ dir|urlaub)
            |(?:ab|am)\ ~24(?:stehe|bin|sind|stehen)\ (?:ich|wir)\ ~20(?:wieder|zur\ verfugung)
            |(?:sie\ erreichen|erreichen\ sie|ihr\ erreicht|du\ erreichst)\ (?:mich|uns)\ ~20(?:wieder|ab)
        """,
    ),
    _language(
        "je j'ai nous notre votre suis serai vous mon le les du est et des cette",
        absence=r"""
            (?:je\ (?:suis|serai)|nous\ (?:sommes|serons)|je\ me\ trouve|etant)\ ~50(?:absent|indisponible|injoignable
            |occupee?\b|en\ (?:\w+\ ){0,2}(?:conges?|vacances|deplacement|formation|reunions?|arret|repos|voyage
            |seminaire|mission|rtt|teletravail\ partiel)|hors\ du\ bureau|pas\ (?:\w+\ ){0,3}(?:au\ bureau|disponible
            |joignable|present|a\ mon\ (?:poste|bureau))|a\ l'etranger)
            |(?:bureau|bureaux|agence|cabinet|societe|entreprise|magasin|etablissement|service|secretariat)\ ~30
            (?:ferme|fermes|fermee|fermees|fermera|fermeront)\b|en\ dehors\ (?:de\ nos|des)\ (?:heures|horaires)
            |nos\ (?:bureaux|horaires)\ ~12(?:sont|seront)|ne\ (?:fais|fait|travaille|suis|est)\ plus\ ~16(?:partie
            |dans|chez|pour|au\ sein|en\ poste)|quitte\ (?:\w+\ )?(?:la\ societe|l'entreprise|mes\ fonctions|mon
            \ poste|l'equipe)
        """,
        machine=r"""
            (?:adresse|boite|messagerie|compte)\ ~24(?:n'est\ (?:plus|pas)|desactivee?|supprimee?|fermee?)
            |(?:e-?mails?|mails?|messages?|courriels?)\ ~30(?:ne\ (?:sera|seront|sont)|n'est|ni)\ ~16(?:lus?|lue
            |transferes?|transmis|traites?|consultes?|rediriges?)|(?:merci|priere)\ de\ ne\ pas\ (?:y\ )?repondre
            |ne\ (?:repondez\ pas|pas\ repondre)\ a\ ce
        """,
        receipt=r"""
            votre\ (?:\w+\ ){0,2}(?:message|demande|courriel|mail|e-?mail|candidature)\ (?:a|est|sera)\ (?:\w+\ ){0,3}
            (?:recue?|enregistree?|transmise?|traitee?|prise?\ en\ (?:compte|charge)|parvenue?)
        """,
        limited_access=r"""
            (?:sans|pas|peu|aucun|acces|avec)\ ~16(?:acces|limite|restreint|ponctuel|irregulier)\ ~24(?:mails?|e-?mails?
            |messagerie|messages?|courriels?|internet|boite)|(?:consulte|lis|lirai|consulterai|releve|releverai)\ ~30
            (?:mails?|messagerie|messages?|courriels?|boite)
        """,
        answer_on_return=r"""
            (?:je|nous)\ (?:(?:vous|te|ne|manquerai|manquerons|pas|de|y|le|la|les|m'efforcerai)\ ){0,5}(?:repondr\w+
            |recontacter\w*|reviendr\w+|traiter\w+|contacter\w+|prendr\w+\ (?:connaissance|contact)|donner\w+\ suite
            |lirai)|(?:repon\w+|recontact\w+|traite\w*)\ ~40(?:mon|des|notre|le)\ retour
        """,
    ),
    _language(
        "estoy estare estamos estaremos me mi nuestra nuestro su gracias encuentro por el los del hasta esta este con",
        absence=r"""
            (?:estoy|estare|estamos|estaremos|me\ encuentro|nos\ encontramos|me\ encontrare)\ ~50(?:ausente|fuera\ (?:de
            |del|por|hasta|en)|de\ (?:\w+\ ){0,2}(?:vacaciones|viaje|baja|permiso|licencia|descanso|excedencia)|en\ (?:un
            |una|el|la)?\ ?(?:\w+\ )?(?:congreso|feria|reunion|reuniones|formacion|curso|evento|viaje)|disfrutando
            |desconectad|no\ disponible)|no\ (?:estoy|estare|me\ encuentro|estamos|estaremos)\ ~24(?:disponible|en\ (?:la
            |mi|nuestra)\ (?:oficina|puesto|despacho)|operativ)|(?:oficina|oficinas|empresa|despacho|tienda|centro)\ ~30
            (?:cerrad|cierra|cerrara|permanecer)\w*|fuera\ de(?:l|\ nuestro|\ mi)?\ horario|(?:nuestro|mi)\ horario
            \ (?:de\ \w+\ |laboral\ )?es\b|ya\ no\ ~20(?:trabaj|labor|form|pertenec|colabor)\w+
        """,
        machine=r"""
            (?:cuenta|buzon|correo|direccion|casilla)\ ~30(?:desactivad|deshabilitad|dad[oa]\ de\ baja|inactiv|no\ (?:es
            |esta)\ (?:\w+\ )?(?:monitor|revis|supervis|activ|operativ|en\ uso)|cerrad)\w*|(?:correos?|mensajes?|emails?)
            \ ~30no\ ser(?:a|an)\ ~12(?:leid|reenviad|atendid|redirigid|respondid)\w+|no\ (?:responder|responda|conteste
            |contestar|respondas)\ (?:a\ )?(?:este|esta)|(?:correos?|mensajes?|emails?)\ ~40(?:eliminad|borrad)\w+
            \ automatic
        """,
        receipt=r"""
            (?:su|tu)\ (?:\w+\ )?(?:mensaje|correo|solicitud|consulta|peticion|email|candidatura)\ (?:ha\ sido|fue|sera
            |esta\ siendo)\ (?:\w+\ ){0,2}(?:recib|registr|reenvi|atend|proces|deriv)\w+
        """,
        limited_access=r"""
            (?:sin|acceso|poco|escaso|no\ (?:tendre|tengo|dispongo))\ ~20(?:acceso|limitado|restringido|intermitente
            |esporadico)\ ~30(?:correos?|e-?mails?|mails?|internet|buzon|mensajes)|no\ (?:leere|revisare|consultare|leo
            |reviso|podre\ (?:leer|revisar|consultar))\ ~20(?:correos?|e-?mails?|mensajes?)
        """,
        answer_on_return=r"""
            (?:responder|contestar|atender|revisar|contactar|comunicar|leer)(?:e|emos)\b~60(?:regreso|vuelta|regrese
            |vuelva|reincorpor\w+|posible|brevedad|correos?|mensajes?|e-?mails?|vuelvo|antes)|volver(?:e|emos)\ a\ (?:leer|responder|atender|estar)|me\ pondre\ en\ contacto
            |nos\ pondremos|a\ (?:mi|la)\ (?:vuelta|regreso)|(?:trata|tratare|procurare)\ ~12(?:respond|contest)\w+
        """,
    ),
    _language(
        "ik wij we mijn ons onze uw je ben u het een van tot voor niet dit",
        absence=r"""
            (?:ben\ ik|ik\ ben|ik\ zit|wij\ zijn|we\ zijn|zijn\ wij|zijn\ we|ik\ bevind\ mij)\ ~60(?:afwezig|niet
            \ (?:\w+\ ){0,3}(?:aanwezig|bereikbaar|beschikbaar|op\ (?:kantoor|mijn\ werk\w*|het\ werk)|in\ de
            \ gelegenheid|werkzaam)|(?:met|op)\ (?:\w+\ ){0,2}(?:vakantie|verlof|reis|zakenreis|cursus|training
            |pensioen)|vrij\b|ziek\b|in\ (?:het\ buitenland|vergadering|bespreking)|in\ meetings?|uit\ kantoor|buiten
            \ kantoor|op\ een\ (?:\w+\ )?(?:congres|beurs|conferentie|evenement|training))
            |(?:kantoor|bedrijf|winkel|praktijk|secretariaat)\ (?:is|zijn|blijft)\ ~40gesloten|buiten\ (?:onze|de|mijn)?
            \ ?(?:kantooruren|openingstijden|kantoortijden|werktijden|openingsuren)|(?:onze|mijn)\ (?:openingstijden
            |kantooruren|openingsuren)\ zijn|(?:niet\ meer|niet\ langer)\ ~20(?:werkzaam|in\ dienst|werk)
        """,
        machine=r"""
            (?:mailbox|postvak|account|e-?mailadres|adres)\ ~30(?:niet\ (?:meer|langer)|opgeheven|gedeactiveerd
            |gesloten|buiten\ gebruik)|(?:e-?mails?|mails?|bericht(?:en)?)\ ~30(?:niet|noch)\ ~16(?:gelezen
            |doorgestuurd|beantwoord|behandeld|bekeken|doorgezonden)|(?:niet\ op\ (?:dit|deze)|gelieve\ niet)\ ~16
            (?:bericht|mail|antwoorden|beantwoorden)
        """,
        receipt=r"""
            (?:uw|je|jouw)\ (?:\w+\ )?(?:bericht|mail|e-?mail|aanvraag|vraag|verzoek|sollicitatie)\ ~16(?:ontvangen
            |geregistreerd|binnengekomen|doorgestuurd|in\ behandeling)
        """,
        limited_access=r"""
            (?:geen|beperkte?|nauwelijks|weinig|slechts)\ (?:\w+\ ){0,2}(?:toegang|bereik|internet|wifi)|(?:lees|check
            |bekijk|beantwoord)\ ~30(?:mails?|e-?mails?|berichten|mailbox)\ ~16(?:niet|geen|af\ en\ toe|beperkt
            |sporadisch)|(?:mails?|e-?mails?|berichten)\ ~16(?:niet|beperkt|af\ en\ toe|sporadisch)\ ~12(?:lezen
            |bekijken|checken|beantwoorden|gelezen)
        """,
        answer_on_return=r"""
            (?:zal|zullen|beantwoord|beantwoorden|reageer|reageren|antwoord|kom|neem|pak)\ (?:ik|wij|we|uw|je|op|u|mijn)
            \b~70(?:terugkomst|terugkeer|terug|mogelijk|spoedig|contact|beantwoorden|reageren|bereikbaar|daarna|weer|op\b)
            |(?:ben|zijn|sta|staan)\ (?:ik|wij|we)\ ~20(?:weer|terug)|(?:vanaf|op)\ ~24(?:weer|terug)\ (?:bereikbaar
            |aanwezig|op\ kantoor|aan\ het\ werk|op\ post)
        """,
    ),
    _language(
        "estou estarei estamos estaremos encontro-me me meu minha nosso seu sua obrigado obrigada nao o ate do da em para esta este foi",
        absence=r"""
            (?:estou|estarei|estamos|estaremos|encontro-me|me\ encontro|encontramo-nos)\ ~50(?:ausente|fora\ (?:do|da|de
            |por|ate|em)|de\ (?:\w+\ )?(?:ferias|licenca|baixa|folga|viagem)|em\ (?:\w+\ ){0,2}(?:ferias|viagem|licenca
            |reuniao|reunioes|formacao|treinamento|recesso|home)|indisponivel|a\ gozar)|nao\ (?:estou|estarei|me
            \ encontro|estamos|estaremos)\ ~24(?:disponivel|no\ (?:escritorio|local)|na\ empresa|contactavel)
            |(?:escritorio|escritorios|empresa|loja|servicos?|instalacoes)\ ~30(?:encerrad|fechad|encerra|fecha)\w*
            |fora\ d[eo](?:\ nosso)?\ (?:horario|expediente)|(?:nosso|meu)\ horario\ (?:de\ \w+\ )?e\b|(?:ja\ nao|nao)
            \ ~16(?:trabalh\w+\ (?:mais|nesta|na|no)|faz\ (?:mais\ )?parte|integra|pertence)|nao\ podemos\ atender
            |desligad[oa]\ da\ empresa
        """,
        machine=r"""
            (?:conta|caixa|e-?mail|endereco)\ ~30(?:desativad|desactivad|inativ|encerrad|descontinuad|nao\ (?:e|esta)
            \ (?:mais\ )?(?:monitor|utiliz|ativ|lid|em\ uso))\w*|(?:e-?mails?|mensage(?:m|ns))\ ~30nao\ ser(?:a|ao)
            \ ~12(?:lid|reencaminhad|encaminhad|respondid)\w+|nao\ (?:responda|responder|respondam)\ a?\ ?(?:este|esta
            |essa|esse)
        """,
        receipt=r"""
            (?:sua|seu|vossa)\ (?:mensagem|e-?mail|pedido|solicitacao|contato|contacto|candidatura)\ (?:foi|sera|esta
            \ sendo)\ (?:\w+\ ){0,2}(?:recebid|registad|registrad|encaminhad|reencaminhad|analisad|respondid)\w+
        """,
        limited_access=r"""
            (?:sem|acesso|pouco|nao\ (?:terei|tenho))\ ~20(?:acesso|limitado|restrito|intermitente)\ ~24(?:e-?mails?
            |internet|correio|mensagens)|nao\ (?:lerei|verei|consultarei|irei\ (?:ler|consultar|verificar))\ ~20
            (?:e-?mails?|mensagens|correio)
        """,
        answer_on_return=r"""
            (?:responder|contactar|contatar|analisar|ler|retornar|voltar)(?:ei|emos)\b~60(?:regresso|retorno|possivel
            |breve|voltar|regressar|retornar|e-?mails?|mensage\w+|contato|contacto|atividades|data|seguida|dia)
            |(?:retornarei|retornaremos|voltarei|voltaremos|regressarei|entrarei|entraremos|darei)\b|volta(?:mos|rei|remos)\ a\ \w+|(?:retorno|volto
            |regresso)\ (?:dia|no|na|em|a|ao|depois|apos)\b
        """,
    ),
    _language(
        "sono saro siamo saremo non mio mia nostri la il per grazie di fino al dal questa",
        absence=r"""
            (?:sono|saro|siamo|saremo|mi\ trovo|ci\ troviamo)\ ~50(?:assent[ei]|fuori\ (?:ufficio|sede|citta|stanza|dall)
            |in\ (?:\w+\ ){0,2}(?:ferie|vacanza|congedo|maternita|malattia|trasferta|viaggio|permesso|riunione|pausa
            |aspettativa)|all'estero|irreperibil)|non\ (?:sono|saro|siamo|saremo)\ ~24(?:disponibil|raggiungibil|in
            \ (?:ufficio|sede)|reperibil|operativ)|(?:ufficio|uffici|azienda|studio|negozio|sede)\ ~40(?:chius|chiudera
            |chiude)\w*|(?:ufficio|uffici|azienda|studio|negozio)\ (?:\w+\ )?(?:riapr)\w+|fuori\ (?:dal\ (?:nostro\ )?)?
            orario|(?:nostri|nostro|miei)\ orari\w?\ (?:di\ \w+\ )?(?:sono|e)\b|non\ ~16(?:lavor\w+|fa|collabor\w+)\ piu
        """,
        machine=r"""
            (?:casella|indirizzo|account)\ ~30(?:non\ e\ (?:piu|monitorat|presidiat)|disattivat|dismess|chius)\w*
            |(?:e-?mail|mail|messaggi\w?)\ ~30non\ (?:verra|verranno|sara|saranno)\ ~12(?:lett|inoltrat|evas)\w+
            |non\ rispondere\ (?:a\ )?(?:quest|all)
        """,
        receipt=r"""
            (?:sua|suo|tua|tuo|vostra|vostro)\ (?:\w+\ )?(?:mail|e-?mail|messaggio|richiesta|candidatura)\ (?:e\ stat
            |verra|sara)\w?\ (?:\w+\ ){0,2}(?:ricevut|registrat|pres|inoltrat|gestit|evas)\w+
        """,
        limited_access=r"""
            (?:senza|accesso|poco|non\ (?:avro|ho))\ ~20(?:accesso|limitato|saltuario|ridotto)\ ~24(?:mail|e-?mail
            |posta|internet|messaggi)|non\ (?:leggero|leggo|controllero|consultero|potro\ leggere)\ ~20(?:mail|e-?mail
            |posta|messaggi)
        """,
        answer_on_return=r"""
            (?:(?:vi|le|ti)\ )?(?:risponder|ricontatter|contatter|legger|torner|rientrer)(?:o|emo)\b|(?:rispondo|ricontatto)
            \ (?:al|appena|quando|non)|(?:appena|non)\ ~12(?:rientro|rientrato|possibile)|sara\ mia\ cura
        """,
    ),
)


def told(text: str, words: frozenset[str], what: str) -> Iterator[str]:
    """The parts of a folded text that say `what` by their build, one a language."""
    for language in _LANGUAGES:
        if not language.common.isdisjoint(words):
            found = language.patterns[what].search(text)
            if found:
                yield found[0]

"""The words by which machines and people give themselves away, in seven languages.

Everything here is folded as `fresh_text.fold` does (lower case, no diacritics, single spaces) and compared as
a plain substring: a few hundred of those cost less than one regular expression of that many branches.
"""


def phrases(block: str) -> tuple[str, ...]:
    """The phrases of a block: `|` between them; an underscore is a space at a phrase's edge."""
    return tuple(phrase.strip().replace("_", " ") for phrase in " ".join(block.split()).split(" | "))


# What mail programs write before the subject of an automatic answer. Compared with the start of the subject.
AUTO_SUBJECTS = phrases("""
automatic reply | auto reply | auto-reply | autoreply | automatic response | auto response | auto-response |
autoresponse | automated reply | automated response | auto responder | autoresponder | auto: | [auto | (auto
| automatische antwort | automatische abwesenheit | automatische ruckantwort | autom. antwort | auto-antwort
| reponse automatique | message automatique | respuesta automatica | contestacion automatica |
automatisch antwoord | automatische reactie | automatisch bericht | resposta automatica |
risposta automatica | risponditore automatico | automatiskt svar | automatisk svar | automaattinen vastaus |
odpowiedz automatyczna | autosvar | automatisches | automatische beantwoording | automatisch gegenereerd |
respuesta de ausencia | 自動返信 | 自动答复 | 自动回复 | автоответ
""")

# Subjects that tell of an absence. People type them too, so that they need company.
ABSENCE_SUBJECTS = phrases("""
out of office | out of the office | out-of-office | ooo: | ooo_ | [ooo | vacation | on vacation | on holiday
| on leave | away from | away: | i am away | i'm away | annual leave | maternity leave | parental leave |
absence | absent | abwesenheit | abwesend | nicht im buro | urlaub | im urlaub | out of office autoreply |
absence du bureau | absent du bureau | en conges | en vacances | notification d'absence | message d'absence
| fuera de la oficina | fuera de oficina | ausencia | ausente | de vacaciones | afwezig | niet aanwezig |
op vakantie | afwezigheid | buiten kantoor | fora do escritorio | fora da empresa | ausencia do escritorio |
de ferias | em ferias | ferias | fuori sede | fuori ufficio | assente | assenza | in ferie | sono in ferie |
franvarande | poissa | nieobecnosc
""")

# Formulas of an absence note: what the writer is.
ABSENCE = phrases("""
_ooo until | _ooo through | _am ooo | i'm ooo | _ooo from | out on pto | wieder im buro | wieder fur sie da
| out of office | out of the office | out-of-office | out of my office | away from the office |
away from my desk | away from my office | away from my email | not in the office | on annual leave |
on leave | on vacation | on holiday | on my holiday | on parental leave | on maternity leave |
on paternity leave | on sick leave | on sabbatical | on a sabbatical | on pto | on a business trip |
am currently away | i am away | i'm away | i will be away | i'll be away | am traveling | am travelling |
currently traveling | currently travelling | will be traveling | will be travelling | currently unavailable
| office is closed | offices are closed | our office will be closed | will be out until | am out until |
away until | offline until | not be available until | unavailable until | be unavailable from |
no longer with the company | no longer with | no longer works | no longer work | no longer employed |
has left the company | have left the company | have left | is no longer at | am no longer at | nicht im buro
| nicht im hause | ausser haus | ausserhaus | im urlaub | in urlaub | im jahresurlaub | bin abwesend |
derzeit abwesend | zurzeit abwesend | zur zeit abwesend | momentan abwesend | aktuell abwesend |
bis einschliesslich | nicht erreichbar | nicht am platz | nicht am arbeitsplatz | in elternzeit |
im mutterschutz | auf dienstreise | auf geschaftsreise | nicht persoenlich erreichbar | buro ist geschlossen
| betriebsferien | nicht mehr im unternehmen | nicht mehr fur | nicht mehr bei | abwesenheit |
bin ich abwesend | nicht verfugbar | unternehmen verlassen | bin im urlaub | absent du bureau |
absente du bureau | actuellement absent | actuellement en conge | absent jusqu | absente jusqu | absent(e) |
suis absent | serai absent | en conges | en conge | en vacances | hors du bureau | pas au bureau |
indisponible | en deplacement | en arret maladie | conge maternite | conge de maternite | conge parental |
absent du | absente du | bureaux sont fermes | bureaux seront fermes | ne travaille plus |
ne fait plus partie | a quitte l | ai quitte | de retour le | mon absence | absence du bureau |
fuera de la oficina | fuera de oficina | fuera del despacho | estoy de vacaciones | de vacaciones |
estoy ausente | estare ausente | me encuentro ausente | me encuentro fuera | estare fuera | estoy fuera |
no estare disponible | no estoy disponible | de permiso | de viaje | baja maternal | baja por | mi ausencia
| ya no trabaja | ya no trabajo | oficina permanecera cerrada | no me encuentro en la oficina |
niet op kantoor | niet aanwezig | ben afwezig | momenteel afwezig | afwezig van | afwezig tot |
ben ik afwezig | met vakantie | op vakantie | met verlof | zwangerschapsverlof | ouderschapsverlof |
buiten kantoor | niet bereikbaar | op zakenreis | kantoor is gesloten | niet meer werkzaam |
mijn afwezigheid | wegens vakantie | beperkt bereikbaar | fora do escritorio | fora da empresa |
ausente do escritorio | estou ausente | estarei ausente | estou de ferias | de ferias | em ferias |
estarei fora | estou fora | em viagem | licenca maternidade | licenca-maternidade | em licenca | de licenca
| ausente ate | nao estarei disponivel | encontro-me ausente | encontro-me de ferias | me encontro ausente |
minha ausencia | nao trabalha mais | ja nao trabalha | estarei de ferias | fuori sede | fuori ufficio |
sono assente | saro assente | sono in ferie | saro in ferie | in ferie | assente dall'ufficio | assente fino
| assente dal | non sono in ufficio | in congedo | in maternita | in viaggio di lavoro | in trasferta |
ufficio chiuso | uffici chiusi | uffici saranno chiusi | non lavora piu | non lavoro piu | mia assenza |
saro fuori | temporaneamente assente
""")

# What such a note adds and a person who answers seldom does. Several outweigh a missing header.
FORMULAS = (
    (
        "limited access",
        phrases("""
limited access to | limited email access | limited e-mail access | no access to email |
no access to my email | no access to e-mail | not have access to | without access to | intermittent access |
sporadic access | checking email | checking my email | checking emails | check my email | check email |
checking e-mail | reading email | have access to email | limited connectivity | nur eingeschrankt |
eingeschrankten zugriff | keinen zugriff auf | e-mails werden nicht gelesen | nur sporadisch | unregelmassig
| meine e-mails nicht | meine mails nicht | e-mails nicht | acces limite | pas acces a | consulter mes |
consulterai mes | consulterai pas | pas acces | acceso limitado | sin acceso | no tendre acceso |
beperkt toegang | beperkte toegang | geen toegang | mijn e-mail niet | mijn mail niet | mijn e-mails |
acesso limitado | sem acesso | nao terei acesso | accesso limitato | non avro accesso | accesso alla posta |
accesso alle e-mail | accesso alla mail | lees ik mijn | niet gelezen
"""),
    ),
    (
        "another contact",
        phrases("""
please contact | kindly contact | please reach out to | please call | please email | please e-mail |
contact my colleague | my colleague | my manager | you can contact | you may contact | can be reached |
in my absence | during my absence | please direct | please get in touch | wenden sie sich | kontaktieren sie
| meine kollegin | mein kollege | meinen kollegen | meiner kollegin | meine vertretung | vertreten |
vertretung | hilft ihnen | steht ihnen | melden sie sich | an meine kolleg | veuillez contacter |
contacter mon | contacter ma | vous pouvez contacter | merci de contacter | pouvez joindre |
merci de vous adresser | vous adresser a | mon collegue | ma collegue | mes collegues | en mon absence |
prendre contact avec | contacte con | contacten con | contactar con | contactar a | ponganse en contacto |
pongase en contacto | puede contactar | pueden contactar | dirijase a | mi companer | en mi ausencia |
por favor contact | favor de contactar | favor contactar | dirigirse a | neem contact op |
contact opnemen met | mijn collega | kunt u terecht | neemt u contact | kunt u bellen | u kunt contact |
bij afwezigheid | tijdens mijn afwezigheid | kunt u zich wenden | por favor contate | favor contatar |
entre em contato | entrar em contato | contacte o | contacte a | entrar em contacto | entre em contacto |
contactar o | meu colega | minha colega | na minha ausencia | queira contactar | por favor, contacte |
por favor, contate | contattare | potete contattare | si prega di contattare | rivolgersi a | rivolgetevi |
mio collega | mia collega | in mia assenza | potete rivolgervi | puo contattare | scrivere a
"""),
    ),
    (
        "urgent matters",
        phrases("""
for urgent | in the meantime | in the interim | urgent matter | if urgent | if it is urgent | if it's urgent
| if this is urgent | if your matter is urgent | in urgent cases | for immediate | immediate assistance |
immediate attention | in an emergency | in case of emergency | if you need | if you require | urgent request
| urgent inquir | urgent enquir | urgent issue | anything urgent | is urgent | in dringenden fallen |
dringende | dringenden | in eiligen | wichtigen angelegenheiten | en cas d'urgence | pour toute urgence |
pour toute demande urgente | urgence | demande urgente | en caso de urgencia | para asuntos urgentes |
si es urgente | urgente | cualquier urgencia | si necesita | voor dringende | bij spoed | dringende zaken |
voor spoed | in dringende gevallen | em caso de urgencia | assuntos urgentes | se for urgente |
em caso de emergencia | per urgenze | in caso di urgenza | per questioni urgenti | per motivi urgenti |
per comunicazioni urgenti | se urgente
"""),
    ),
    (
        "answer on return",
        phrases("""
upon my return | when we return | will be returning | returning on | _returning_ | get back to you on |
je traiterai votre | traiterai votre | on my return | when i return | when i get back | when i am back |
when i'm back | once i return | once i am back | as soon as i return | as soon as i am back |
after my return | respond to your email | respond to your message | reply to your email |
reply to your message | get back to you | respond to emails | i will return | i'll return | will be back |
i'll be back | return to the office | back in the office | returning to the office | i return on | back on |
back in office | delay in respond | delayed response | slow to respond | delay in my response |
response may be delayed | respond as soon as | reply as soon as | nach meiner ruckkehr | nach meinem urlaub
| wieder im buro | wieder fur sie | wieder erreichbar | wieder zuruck | wieder da | ab dem | melde mich |
beantworte ich | werde ich | bin ich wieder | wieder im haus | wieder personlich | wieder anwesend |
zuruck im buro | beantwortet | a mon retour | des mon retour | mon retour | de retour le | serai de retour |
je reviens | reviendrai | retour au bureau | de retour au bureau | de retour a partir | a mi regreso |
a mi vuelta | cuando regrese | cuando vuelva | de regreso | de vuelta | mi regreso | regreso el | vuelvo el
| me reincorporo | me incorporo | mi vuelta | responder a su | respondere | regresare | volvere |
na mijn terugkeer | bij terugkomst | na terugkomst | weer aanwezig | weer bereikbaar | weer op kantoor |
ben ik weer | weer terug | bij mijn terugkomst | zo snel mogelijk | na mijn vakantie | terug op | terugkomst
| no meu retorno | no meu regresso | ao meu retorno | quando voltar | quando regressar | assim que regressar
| assim que voltar | assim que retornar | retorno no dia | retorno em | retornarei | voltarei | regresso a |
regressarei | de volta | apos o meu | meu retorno | meu regresso | estarei de regresso | al mio rientro |
al mio ritorno | al rientro | rientro il | rientrero | saro di ritorno | tornero | di ritorno il |
mio rientro | appena possibile | sara mia cura | nuovamente in ufficio | di nuovo in ufficio |
di nuovo disponibile
"""),
    ),
    (
        "thanks for the message",
        phrases("""
thank you for your email | thank you for your e-mail | thank you for your message | thank you for your note
| thanks for your note | thanks for your email | thanks for your e-mail | thanks for your message |
thank you for your mail | thanks for your mail | thank you for contacting | thank you for getting in touch |
thanks for contacting | thanks for reaching out | thank you for reaching out | thank you for writing |
vielen dank fur ihre | danke fur ihre | vielen dank fur deine | danke fur deine | besten dank fur ihre |
herzlichen dank fur ihre | merci pour votre | merci de votre | nous vous remercions de votre |
je vous remercie de votre | je vous remercie pour votre | j'ai bien recu votre | gracias por su |
gracias por tu | muchas gracias por su | gracias por contactar | gracias por escribir | he recibido su |
bedankt voor uw | dank voor uw | hartelijk dank voor uw | bedankt voor je | dank u voor uw |
obrigado pelo seu | obrigada pelo seu | obrigado por | obrigado pela | agradeco o seu | agradecemos o seu |
agradeco a sua | obrigado pelo contato | grazie per la sua | grazie per il tuo | grazie per la tua |
grazie per il suo | la ringrazio per | grazie per avermi | grazie per averci | vi ringrazio |
grazie per il messaggio | grazie per la mail
"""),
    ),
)

# A machine names itself, or a message that can't be a person's answer.
MACHINE = phrases("""
this is an automatic | this is an automated | this is an auto- | this is an auto_ | this is auto |
automatically generated | auto-generated | automated message | automated response | automated reply |
automatic reply | automatic response | auto reply | auto-reply | autoreply | autoresponder | auto-response |
auto response | generated automatically | do not reply to this | please do not reply |
do not respond to this | unattended mailbox | unmonitored mailbox | mailbox is not monitored | not monitored
| no longer monitored | no longer in use | inbox is not monitored | this email address is no longer |
this mailbox is no longer | not be forwarded | automatische antwort | automatisch generiert |
automatisch erzeugt | automatisch erstellt | automatische nachricht | automatische e-mail |
automatische abwesenheit | automatische ruckantwort | nicht weitergeleitet | bitte antworten sie nicht |
antworten sie bitte nicht | nicht automatisch weitergeleitet | automatisierte | autom. antwort |
reponse automatique | message automatique | genere automatiquement | envoye automatiquement |
merci de ne pas repondre | ne pas repondre a ce | reponse generee | message est automatique |
n'est pas transfere | ne sera pas transfere | ne sont pas transferes | respuesta automatica |
mensaje automatico | generado automaticamente | correo automatico | por favor no responda |
no responda a este | generada automaticamente | no conteste a este | no sera reenviado |
automatisch antwoord | automatisch bericht | automatisch gegenereerd | automatische reactie |
automatisch verzonden | niet doorgestuurd | dit is een automatisch | gelieve niet te antwoorden |
automatische melding | niet op deze e-mail | resposta automatica | mensagem automatica |
gerada automaticamente | gerado automaticamente | por favor nao responda | nao responda a est |
email automatico | e-mail automatico | risposta automatica | messaggio automatico | generato automaticamente
| generata automaticamente | non rispondere a quest | si prega di non rispondere | inviato automaticamente |
email automatica | messaggio e stato generato
""")

# Receipts of desks and ticket systems, challenges, and notes of a changed address.
RECEIPT = phrases("""
we have received your | we received your | your request has been received | your message has been received |
your email has been received | has been received and | ticket has been created | ticket has been opened |
a ticket has been | case has been created | a case has been | your ticket | your case number |
your request number | ticket number | ticket id | case number | reference number | will respond within |
will reply within | will get back to you within | get back to you within | business days | working days |
one of our | our support team | has been assigned | ist bei uns eingegangen | haben ihre anfrage |
haben ihre nachricht | haben ihre e-mail | eingangsbestatigung | ihre anfrage wird | ihre anfrage wurde |
ticketnummer | vorgangsnummer | werktagen | werktage | schnellstmoglich | avons bien recu | a bien ete recu
| a bien ete prise | a ete enregistree | numero de ticket | jours ouvres | accusons reception |
accuse de reception | dans les meilleurs delais | dans les plus brefs delais | hemos recibido su |
hemos recibido tu | ha sido recibid | su solicitud | dias laborables | dias habiles | acuse de recibo |
hebben uw bericht | hebben uw e-mail | hebben je bericht | is ontvangen | goed ontvangen |
in goede orde ontvangen | werkdagen | ontvangstbevestiging | recebemos a sua | recebemos o seu |
recebemos sua | recebemos seu | foi recebid | dias uteis | numero do chamado | numero do ticket |
abbiamo ricevuto | e stata ricevuta | e stato ricevuto | giorni lavorativi | numero di ticket |
presa in carico | confirm that you are | verify that you are | to complete delivery |
click the link below to confirm | has been quarantined until | prove you are human | spam arrest | boxbe |
challenge-response | my email address has changed | my e-mail address has changed | new email address is |
new e-mail address is | update your address book | update your contacts | meine e-mail-adresse hat sich |
neue e-mail-adresse | nouvelle adresse e-mail | nouvelle adresse mail | mon adresse e-mail a change |
nueva direccion de correo | nieuw e-mailadres | nieuwe e-mailadres | novo endereco de e-mail |
nuovo indirizzo e-mail | nuovo indirizzo email
""")

# A person who takes up what we wrote. Each is about the exchange itself, which no standing note can be.
ENGAGED = phrases("""
let's talk | short answer | lets talk | let's chat | let's speak | let's connect | let's schedule |
let's set up | let's catch up | let us talk | happy to talk | happy to chat | happy to discuss |
happy to connect | sounds good | sounds great | sounds interesting | i'm interested | i am interested |
not interested | i would be interested | i'd be interested | i'd love to | i would love to | could you |
can you | can we | could we | would you | do you | what is the | what's the | how about | tell me more |
but yes | _yes, | yes please | _yes! | no thanks | no thank you | _no, | that works | works for me |
let me know | ping me | contact me again | write me again | write to me again | email me again |
get back to me | come back to me | talk then | speak then | talk soon | speak soon | follow up with me |
feel free to follow | reach out again | try me again | we can talk | we could talk | we can speak |
catch up when | catch up next | as discussed | your proposal | your offer | the role | the position |
this role | your question | i think | in response to your question | attached is | i've attached |
i have attached | see attached | salary | my cv | my resume | btw | sorry for the late | sorry for the delay
| klingt gut | klingt interessant | gerne konnen wir | konnen wir | konnten wir | lassen sie uns | lass uns
| _ja, | ja gerne | _nein, | nein danke | schicken sie mir | das passt | passt mir | die stelle | aber gern
| was genau | wie hoch | telefonieren | ihr angebot | ca m'interesse | cela m'interesse | pouvez-vous |
pouvons-nous | peux-tu | pourriez-vous | on peut | _oui, | oui avec plaisir | _non, | non merci |
envoyez-moi | le poste | parlons | discutons | on en parle | quel est | quelle est | votre proposition |
me interesa | estoy interesad | no me interesa | podemos hablar | podriamos | podemos | podrias | _si, |
no gracias | el puesto | hablemos | hablamos | suena bien | enviame | envieme | cual es | su propuesta |
tu propuesta | klinkt goed | klinkt interessant | ik heb interesse | kunnen we | ja graag | _nee, |
nee bedankt | de functie | laten we | wat is het | je voorstel | uw voorstel | spreken we | tenho interesse
| nao tenho interesse | estou interessad | podemos falar | _sim, | _nao, | nao obrigad | a vaga |
vamos falar | vamos conversar | parece bom | parece interessante | sua proposta | falamos | sono interessat
| mi interessa | non mi interessa | possiamo | potremmo | puo inviarmi | potrebbe | no grazie | la posizione
| parliamone | sentiamoci | ci sentiamo | tua proposta
""")

# What mail programs of the languages put before the subject of an answer or of what they forward.
REPLY_PREFIXES = phrases("""
re | aw | antw | antwort | sv | vs | r | rif | res | ref | odp | rv | fw | fwd | wg | tr | enc | i | doorst
| rsp | re[2]
""")

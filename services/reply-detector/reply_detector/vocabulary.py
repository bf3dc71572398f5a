"""The words by which machines and people give themselves away, in seven languages.

Everything here is folded as `fresh_text.fold` does (lower case, no diacritics, single spaces) and compared as
a plain substring: a few hundred of those cost less than one regular expression of that many branches.
"""

import itertools
import re
from collections.abc import Iterable

_WORD = re.compile(r"\w+")


def words_in(text: str) -> frozenset[str]:
    """The words of a text, as `Phrases` looks them up."""
    return frozenset(_WORD.findall(text))


class Phrases:
    """Finds which of many phrases a text holds by looking only at those whose first word it has.

    A phrase of one word may have an open end, so that it is looked for in any case.
    """

    def __init__(self, source: Iterable[str]) -> None:
        self._all = tuple(source)
        self._open: list[int] = []
        self._by_word: dict[str, list[int]] = {}
        for place, phrase in enumerate(self._all):
            first = _WORD.match(phrase.strip())
            if first is None or first[0] == phrase.strip().rstrip("*"):
                self._open.append(place)
            else:
                self._by_word.setdefault(first[0], []).append(place)

    def likely(self, words: frozenset[str]) -> list[int]:
        """The places of the phrases that may be in a text of these words, in their order."""
        return sorted(itertools.chain(self._open, *(self._by_word.get(word, ()) for word in words)))

    def within(self, text: str, words: frozenset[str]) -> tuple[str, ...]:
        """The phrases that are in the text, in their order."""
        return tuple(phrase for place in self.likely(words) if (phrase := self._all[place]) in text)


def phrases(block: str) -> tuple[str, ...]:
    """The phrases of a block: `|` between them; an underscore is a space at a phrase's edge."""
    return tuple(phrase.strip().replace("_", " ") for phrase in " ".join(block.split()).split(" | "))


# What mail programs write before the subject of an automatic answer. Compared with the start of the subject.
AUTO_SUBJECTS = phrases("""
automatic reply | auto reply | auto-reply | autoreply | automatic response | auto response | auto-response |
autoresponse | automated reply | automated response | auto responder | autoresponder | auto: | [auto | (auto
| automatische antwort | automatische abwesenheit | automatische ruckantwort | autom. antwort | auto-antwort
| reponse automatique | message automatique | respuesta automatica | contestacion automatica | automatisch
antwoord | automatische reactie | automatisch bericht | resposta automatica | risposta automatica |
risponditore automatico | automatiskt svar | automatisk svar | automaattinen vastaus | odpowiedz
automatyczna | autosvar | automatisches | automatische beantwoording | automatisch gegenereerd | respuesta
de ausencia | 自動返信 | 自动答复 | 自动回复 | автоответ
""")

# Subjects that tell of an absence. People type them too, so that they need company.
ABSENCE_SUBJECTS = phrases("""
out of office | out of the office | out-of-office | ooo: | ooo_ | [ooo | vacation | on vacation | on holiday
| on leave | away from | away: | i am away | i'm away | annual leave | maternity leave | parental leave |
absence | absent | abwesenheit | abwesend | nicht im buro | urlaub | im urlaub | out of office autoreply |
absence du bureau | absent du bureau | en conges | en vacances | notification d'absence | message d'absence
| fuera de la oficina | fuera de oficina | ausencia | ausente | de vacaciones | afwezig | niet aanwezig | op
vakantie | afwezigheid | buiten kantoor | fora do escritorio | fora da empresa | ausencia do escritorio | de
ferias | em ferias | ferias | fuori sede | fuori ufficio | assente | assenza | in ferie | sono in ferie |
franvarande | poissa | nieobecnosc | maternity | paternity | parental | sabbatical | sick leave | on sick |
jury duty | office closed | closed | office closure | we are closed | holiday closure | i'm out | i am out |
out until | ooo | oof | not in the office | unavailable | elternzeit | mutterschutz | betriebsurlaub |
betriebsferien | geschlossen | dienstreise | fortbildung | krank | auf reisen | nicht erreichbar | buro
geschlossen | ausser haus | conge | vacances | fermeture | deplacement | arret maladie | bureaux fermes |
indisponib | baja por | baja m | permiso | vacaciones | oficina cerrada | cerrado | no disponible | de baja
| estoy fuera | zwangerschapsverlof | ouderschapsverlof | gesloten | verlof | vakantie | met verlof | ziek |
licenca | encerrado | estou de ferias | estou fora | atestado | maternita | congedo | chiusura | uffici
chiusi | in vacanza | malattia | ferie | fora de
""")

# Formulas of an absence note: what the writer is.
ABSENCE = phrases("""
_ooo until | _ooo through | _am ooo | i'm ooo | _ooo from | out on pto | wieder im buro | wieder fur sie da
| out of office | out of the office | out-of-office | out of my office | away from the office | away from my
desk | away from my office | away from my email | not in the office | on annual leave | on leave | on
vacation | on holiday | on my holiday | on parental leave | on maternity leave | on paternity leave | on
sick leave | on sabbatical | on a sabbatical | taking a sabbatical | on pto | on a business trip | am
currently away | i am away | i'm away | i will be away | i'll be away | am traveling | am travelling |
currently traveling | currently travelling | will be traveling | will be travelling | currently unavailable |
office is closed | offices are closed | our office will be closed | will be out until | am out until |
away until | offline until | not be available until | unavailable until | be unavailable from |
no longer with the company | no longer with | no longer works | no longer work | no longer employed |
has left the company | have left the company | have left | is no longer at | am no longer at | nicht im buro |
nicht im hause | ausser haus | ausserhaus | im urlaub | in urlaub | im jahresurlaub | bin abwesend |
derzeit abwesend | zurzeit abwesend | zur zeit abwesend | momentan abwesend | aktuell abwesend |
bis einschliesslich | nicht erreichbar | nicht am platz | nicht am arbeitsplatz | in elternzeit | im
mutterschutz | auf dienstreise | auf geschaftsreise | nicht persoenlich erreichbar | buro ist geschlossen |
betriebsferien | nicht mehr im unternehmen | nicht mehr fur | nicht mehr bei | abwesenheit | bin ich
abwesend | nicht verfugbar | unternehmen verlassen | bin im urlaub | absent du bureau | absente du bureau |
actuellement absent | actuellement en conge | absent jusqu | absente jusqu | absent(e) | suis absent | serai
absent | en conges | en conge | en vacances | hors du bureau | pas au bureau | indisponible | en deplacement
| en arret maladie | conge maternite | conge de maternite | conge parental | absent du | absente du |
bureaux sont fermes | bureaux seront fermes | ne travaille plus | ne fait plus partie | a quitte l | ai
quitte | de retour le | mon absence | absence du bureau | fuera de la oficina | fuera de oficina | fuera del
despacho | estoy de vacaciones | de vacaciones | estoy ausente | estare ausente | me encuentro ausente | me
encuentro fuera | estare fuera | estoy fuera | no estare disponible | no estoy disponible | de permiso | de
viaje | baja maternal | baja por | mi ausencia | ya no trabaja | ya no trabajo | oficina permanecera cerrada
| no me encuentro en la oficina | niet op kantoor | niet aanwezig | ben afwezig | momenteel afwezig |
afwezig van | afwezig tot | ben ik afwezig | met vakantie | op vakantie | met verlof | zwangerschapsverlof |
ouderschapsverlof | buiten kantoor | niet bereikbaar | op zakenreis | kantoor is gesloten | niet meer
werkzaam | mijn afwezigheid | wegens vakantie | beperkt bereikbaar | fora do escritorio | fora da empresa |
ausente do escritorio | estou ausente | estarei ausente | estou de ferias | de ferias | em ferias | estarei
fora | estou fora | em viagem | licenca maternidade | licenca-maternidade | em licenca | de licenca |
ausente ate | nao estarei disponivel | encontro-me ausente | encontro-me de ferias | me encontro ausente |
minha ausencia | nao trabalha mais | ja nao trabalha | estarei de ferias | fuori sede | fuori ufficio | sono
assente | saro assente | sono in ferie | saro in ferie | in ferie | assente dall'ufficio | assente fino |
assente dal | non sono in ufficio | in congedo | in maternita | in viaggio di lavoro | in trasferta |
ufficio chiuso | uffici chiusi | uffici saranno chiusi | non lavora piu | non lavoro piu | mia assenza |
saro fuori | temporaneamente assente | out sick | off sick | sick leave | i am unwell | i'm unwell | called
for jury | attending a conference | at a conference | attending an | attending the | maternity leave |
paternity leave | parental leave | away from work | not reading email | not checking email | not reading my
email | am not checking | _ooo this | _ooo today | _ooo till | ooo - | i'm off | i am off | i'm out until |
i'm out this | currently out | currently off | i am out until | i am out from | i'm out from | work
part-time | working part-time | my working days are | my working hours are | our working hours | office
hours are | office is now closed | closed for the | are closed from | be closed from | be closed for |
summer break | winter break | annual shutdown | out of town | traveling for business | travelling for
business | travelling on business | traveling on business | travelling with limited | traveling with limited
| be travelling | business trip | taking some time off | taking time off | on jury duty | on study leave |
on compassionate leave | on bereavement leave | on family leave | on medical leave | on personal leave | on
honeymoon | am not available | i'm not available | will be unavailable | be away until | be away from | away
on | away this week | away today | away with no | am away | i'll be off | not working today | not at work |
not in office | no longer part of | no longer an employee | has left | is no longer employed | left the
company | left the organi | will not be read until | won't be checking | erkrankt | krankheitsbedingt |
krankgeschrieben | elternzeit | mutterschutz | urlaubsbedingt | mache gerade urlaub | habe urlaub | bin
verreist | im wohlverdienten | auf einer messe | auf einer konferenz | auf einer tagung | auf reisen | bin
unterwegs | nicht zu erreichen | nicht anwesend | nicht in der firma | ausser dienst | freie tage | _frei
und | habe ich frei | ich habe frei | einer fortbildung | auf fortbildung | auf schulung | auf seminar | in
terminen | ganztagig | in teilzeit | meine arbeitszeiten | unsere burozeiten | geschlossen | nicht besetzt |
betriebsurlaub | weihnachtsurlaub | nur eingeschrankt erreichbar | eingeschrankt erreichbar | schwer
erreichbar | nicht mehr tatig | nicht mehr angestellt | unternehmen tatig | ausgeschieden | bis auf weiteres
| ausserhalb des buros | bin nicht da | nicht im dienst | bin erst | _ooo bis | je suis absent | conges
annuels | conges payes | arret maladie | arret de travail | conge paternite | en formation | en seminaire |
en conference | en reunion toute | en rtt | je serai en | je serai absent | n'est plus joignable | pas
joignable | injoignable | pas disponible | ne serai pas disponible | absent pour | absent ce | absente ce |
absent le | absente le | absent pendant | absente pendant | absent pour une | temps partiel | bureaux seront
| bureau est ferme | sont fermes | est ferme | a quitte la | a quitte notre | quitte l'entreprise | quitte
la societe | ne fais plus partie | ne travaille plus pour | ne travaille plus chez | en voyage | absent de
mon | absente de mon | absent de | absente de | en repos | ferme pour | estoy de baja | de baja medica | de
baja por | de baja mater | de baja pater | baja laboral | baja medica | licencia medica | licencia de | de
licencia | fuera de mi escritorio | fuera del pais | actualmente ausente | actualmente fuera | me encuentro
de | me encuentro en un | estare de vacaciones | estare de viaje | en un congreso | en un curso | en una
formacion | en un evento | unos dias de descanso | no me encuentro disponible | no estare en la oficina | no
estoy en la oficina | oficinas permaneceran cerradas | permaneceran cerrad | estaran cerradas | estara
cerrad | mi horario | horario laboral | dejado de formar parte | no forma parte | ya no forma | ya no
pertenece | no sera leido | no seran leidos | dia libre | dias libres | disfrutando de | ik ben afwezig |
afwezig t/m | afwezig wegens | wegens ziekte | ben ik ziek | ben ziek | ziekteverlof | met zwanger | op een
congres | op een conferentie | op een beurs | op reis | vrije dagen | ben ik vrij | ben vrij | t/m vrij |
ben ik er niet | ben er niet | uit de running | niet beschikbaar | niet in de gelegenheid | is gesloten |
zijn gesloten | kantoor gesloten | werk niet langer | niet meer in dienst | uit dienst | werk op maandag |
werk op dinsdag | werkdagen zijn | parttime | werk niet op | van mijn vakantie | op cursus | op training |
afwezig op | ben op vakantie | op zaken | estou em ferias | gozo de ferias | periodo de ferias | atestado
medico | licenca medica | licenca paternidade | licenca-paternidade | licenca parental | baixa medica | de
baixa | afastad | em treinamento | em um treinamento | em formacao | num congresso | em um congresso | em um
evento | viagem a trabalho | em viagem de | nao estarei no | nao estou no escritorio | nao me encontro |
fora de escritorio | fora por | escritorios estarao | escritorio estara | estarao encerrad | estara encerrad
| estaremos fechad | estara fechad | encontra-se encerrad | nao faz mais parte | ja nao trabalho | nao
trabalho mais | ja nao exerc | deixei de trabalhar | trabalho apenas | horario de trabalho | meio periodo |
estarei em ferias | me encontro de | me encontro em | estarei em viagem | dias de folga | de folga | sono in
malattia | in malattia | congedo di maternita | congedo parentale | congedo di | in vacanza | sono in
viaggio | corso di formazione | sono impegnat | fuori stanza | fuori dall'ufficio | non saro in ufficio |
non sono disponibile | non saro disponibile | non saro raggiungibile | non raggiungibile | uffici resteranno
| ufficio restera | resteranno chius | rimarranno chius | uffici sono chiusi | restera chius | chiuso per |
chiusi per | chiusura estiva | non fa piu parte | non collabora piu | ho lasciato l'azienda | ha lasciato
l'azienda | part-time | part time | mi trovo in ferie | mi trovo fuori | in aspettativa | in permesso |
assente per | ben niet op kantoor | ben niet op mijn | ben ik niet op kantoor | ben ik niet aanwezig | ben
ik niet bereikbaar | ben ik niet beschikbaar | ben ik niet in de | ik ben er niet | ben er tot | ben er van
| currently on leave | currently on holiday | currently on vacation | currently on annual | currently on a
business | currently on parental | currently on maternity | only work on | only work mon | only work tue |
only work wed | i only work part | only work thu | i work part | do not work on fri | do not work on mon |
do not work on wed | don't work on fri | don't work on mon | don't work on wed | arbeite nur mo | arbeite
nur di | arbeite nur vor | arbeite nur von | arbeite nur am | deixei a empresa | nao faz parte da empresa |
nao faz parte do quadro | nao faz parte da equipe | nao faz parte dos | _afwezig | _abwesend | _ausente |
_assente | _absent_ | _absente_ | habe das unternehmen | hat das unternehmen | unternehmen zum | zum ende
des monats verlassen | werkzaam bij | mei vrij | ik ben vrij | ben t/m | until further notice | out of the
country | i am abroad | i'm abroad | currently abroad | overseas | in the field | on secondment | in a
workshop | all-day workshop | training course | on a course | in training | at an event | recovering from |
due to illness | in hospital | unable to respond | unable to reply | unable to answer | not able to respond
| not able to reply | not be able to respond | not be able to reply | cannot respond | former employee | i
have retired | have now retired | has retired | few days off | day off | days off | a week off | weeks off |
taking a few days | taking a break | no internet | without internet | offline | high volume of e | do not
have access to this account | is closed today | closed today | closed until | closed on | we are closed | we
will be closed | will be closed | shut down from | away recovering | on a retreat | at a trade | at an
offsite | company offsite | team offsite | on a long weekend | in meetings all day | back-to-back meetings |
have limited availability | limited availability | with my family | on a trip | away for |
vaterschaftsurlaub | vaterschaft | im ausland | ins ausland | ohne internet | sporadisch | im workshop | in
einem workshop | in einer schulung | auf einem seminar | auf einem kongress | auf dem kongress | in einer
klausur | auf lehrgang | auf montage | beim kunden | in kur | in reha | nach einer operation | nach meiner
operation | im krankenhaus | mai urlaub | urlaub und | bis zum urlaub | ich habe urlaub | habe ich urlaub |
im ruhestand | in den ruhestand | in rente gegangen | nicht mehr aktiv | nicht mehr beschaftigt | nicht mehr
in unserem | nicht mehr bei uns | keine e-mails bearbeiten | keine mails bearbeiten | nicht beantworten |
nicht bearbeiten | nicht antworten | ein paar tage | paar tage offline | einige tage | betriebsausflug |
bleibt geschlossen | haben geschlossen | macht betriebs | sabbatical | auszeit | sonderurlaub | resturlaub |
bildungsurlaub | brueckentag | bruckentag | feiertags | quelques jours | jours de repos | a l'etranger |
sans acces | sans connexion | connexion intermittente | en atelier | en stage | en salon | sur un salon | en
clientele | pas en mesure de | ne suis pas en mesure | souffrant | hospitalis | suite a une operation | a la
retraite | en retraite | paternite | conge sabbatique | conge sans solde | jour ferie | est fermee | sera
fermee | sera ferme | seront fermees | seront fermes | ferme ce | n'exerce plus | n'est plus active | n'est
plus utilisee | plus chez | ne pourrai repondre | ne pourrai pas repondre | ne peux pas repondre | en pause
| indisponibilite | ne lis pas | unos dias | en el extranjero | sin acceso a | sin internet | sin conexion |
conexion intermitente | excedencia | por motivos de salud | motivos personales | por enfermedad | tras una
operacion | por una operacion | jubilad | no puedo atender | no podre atender | no podre responder | no
puedo responder | no leere | esta cerrado | esta cerrada | estara cerrado | permanecera cerrad | por festivo
| ya no esta activa | ya no pertenec | ya no labora | ya no presta | en una feria | de congreso | en
formacion | en capacitacion | de comision | en comision | fuera hasta | asuntos propios | vacaciones del |
de descanso | de excedencia | vaderschapsverlof | met vaderschap | in het buitenland | geen internet |
zonder internet | slechte internet | een paar dagen | dagen vrij | vrij genomen | op een training | op een
evenement | na een operatie | in het ziekenhuis | vanwege ziekte | met pensioen | oud-medewerker | niet meer
actief | niet beantwoorden | niet reageren | vandaag gesloten | wij zijn gesloten | gesloten van | gesloten
tot | vanwege een feestdag | wegens de feestdag | wegens feestdag | feestdag | bijzonder verlof |
geboorteverlof | onbetaald verlof | adoptieverlof | calamiteitenverlof | zit ik in | niet werkzaam | uns
dias | alguns dias | no exterior | no estrangeiro | fora do pais | sem internet | sem acesso | conexao
instavel | por motivos de saude | motivos pessoais | motivo de doenca | apos uma cirurgia | cirurgia |
aposent | reformei | reformad | nao consigo responder | nao poderei responder | nao lerei | esta fechad |
esta encerrad | estaremos encerrad | feriado | nao pertence | nao esta ativ | ja nao esta | numa feira | em
uma feira | em workshop | num workshop | em recesso | recesso | licenca sem | qualche giorno | giorni liberi
| giorni di riposo | all'estero | senza accesso | senza internet | connessione instabile | motivi di salute
| motivi personali | per malattia | in ospedale | dopo un intervento | intervento chirurgico | in pensione |
non posso rispondere | non potro rispondere | non saro in grado | non leggero | oggi e chiuso | sara chius |
saranno chius | per la festivita | non fa piu | non e piu attiv | in fiera | ad una fiera | a una fiera | ad
un congresso | a un convegno | a un congresso | a un corso | in un workshop | ferie dal | di paternita |
congedo | hospitalized | hospitalised | hospitalizad | zit tot eind | zit ik tot | ik zit tot | finished for
the week | at a client site | at a customer site | client site | is checked once | is only checked | ist
nicht mehr in | arbeitet nicht mehr | langes wochenende | ferienzeit | verreist | pas a mon poste | n'est
plus dans nos | n'est plus dans l' | n'est plus dans la | faisons le pont | chez un client | ma semaine est
| suis parti en | suis partie en | ya no esta en la empresa | no me encuentro en mi | hacemos puente | en
casa de un cliente | con un cliente | werkt hier niet meer | werkt niet meer | niet op mijn werkplek | bij
een klant | lang weekend | ja nao se encontra | nao me encontro no | num cliente | em um cliente | fazemos
ponte | facciamo il ponte | non e piu in azienda | non sono alla mia | presso un cliente | sono via | long
weekend | with limited email | not working on | i don't work on thur | am not working
""")

# The adverbs of a standing note: it does not know when it will be read.
STANDING = phrases("""
currently | at the moment | presently | at present | derzeit | zurzeit | zur zeit | momentan | aktuell |
actuellement | en ce moment | actualmente | en este momento | me encuentro | momenteel | op dit moment |
atualmente | no momento | neste momento | encontro-me | me encontro | attualmente | al momento |
temporaneamente | mi trovo | until further notice | bis auf weiteres | tot nader order | tot nader bericht |
hasta nuevo aviso | fino a nuova comunicazione | fino a nuovo avviso | jusqu'a nouvel ordre | duree
indeterminee | ate novo aviso | ate nova comunicacao | tempo indeterminado
""")

# What such a note adds and a person who answers seldom does. Several outweigh a missing header.
FORMULAS = (
    (
        "limited access",
        phrases("""
limited access to | limited email access | limited e-mail access | no access to email | no access to my
email | no access to e-mail | not have access to | without access to | intermittent access | sporadic access
| checking email | checking my email | checking emails | check my email | check email | checking e-mail |
reading email | have access to email | limited connectivity | nur eingeschrankt | eingeschrankten zugriff |
keinen zugriff auf | e-mails werden nicht gelesen | nur sporadisch | unregelmassig | meine e-mails nicht |
meine mails nicht | e-mails nicht | acces limite | pas acces a | consulter mes | consulterai mes |
consulterai pas | pas acces | acceso limitado | sin acceso | no tendre acceso | beperkt toegang | beperkte
toegang | geen toegang | mijn e-mail niet | mijn mail niet | mijn e-mails | acesso limitado | sem acesso |
nao terei acesso | accesso limitato | non avro accesso | accesso alla posta | accesso alle e-mail | accesso
alla mail | lees ik mijn | niet gelezen | little access to | no email access | little or no access | not
checking my | not monitoring | won't be checking | may not be read | not be able to check | without email |
away from email | no access to my | reading my email | poor signal | patchy signal | keine mails | keine
e-mails | lese keine | nicht gelesen | nicht bearbeitet | nur unregelmassig | eingeschrankt erreichbar |
acces restreint | consulte peu | peu mes mails | aurai pas acces | n'ai pas acces | ni lus | sin acceso al |
acceso limitado al | acceso restringido | no leere | beperkt mijn | mail beperkt | geen mail | geen e-mail |
mijn mail beperkt | toegang tot mijn | acesso restrito | sem acesso a | acesso limitado ao | leggo la posta
| non ho accesso | saltuariamente | non leggero | accesso limitato alla | intermittent | patchy | slower
than usual | expect delays | not check | will not check | only occasionally | sporadically | lese ich |
verzogerung | verzogert | per e-mail zu erreichen | avec du retard | du retard | con retraso | met
vertraging | later dan | reageer ik later | com atraso | non leggo | lees ik geen | no leo | restricted
email access | restricted access | mails nur abends | mes mails que le soir | solo leo el correo | alleen 's
avonds | so leio o email | leggo la posta solo | lesen sie | lese ich wieder mails | reprendrai la lecture |
volvere a leer | lees ik mijn mail weer | volto a ler | tornero a leggere | pick up emails again | pick up
my emails
"""),
    ),
    (
        "another contact",
        phrases("""
please contact | kindly contact | please reach out to | please call | please email | please e-mail | contact
my colleague | my colleague | my manager | you can contact | you may contact | can be reached | in my
absence | during my absence | please direct | please get in touch | wenden sie sich | kontaktieren sie |
meine kollegin | mein kollege | meinen kollegen | meiner kollegin | meine vertretung | vertreten |
vertretung | hilft ihnen | steht ihnen | melden sie sich | an meine kolleg | veuillez contacter | contacter
mon | contacter ma | vous pouvez contacter | merci de contacter | pouvez joindre | merci de vous adresser |
vous adresser a | mon collegue | ma collegue | mes collegues | en mon absence | prendre contact avec |
contacte con | contacten con | contactar con | contactar a | ponganse en contacto | pongase en contacto |
puede contactar | pueden contactar | dirijase a | mi companer | en mi ausencia | por favor contact | favor
de contactar | favor contactar | dirigirse a | neem contact op | contact opnemen met | mijn collega | kunt u
terecht | neemt u contact | kunt u bellen | u kunt contact | bij afwezigheid | tijdens mijn afwezigheid |
kunt u zich wenden | por favor contate | favor contatar | entre em contato | entrar em contato | contacte o
| contacte a | entrar em contacto | entre em contacto | contactar o | meu colega | minha colega | na minha
ausencia | queira contactar | por favor, contacte | por favor, contate | contattare | potete contattare | si
prega di contattare | rivolgersi a | rivolgetevi | mio collega | mia collega | in mia assenza | potete
rivolgervi | puo contattare | scrivere a | please direct all | please write to | please use | please send |
direct enquiries | direct inquiries | questions about | covering for me | is covering | looks after my |
drop a line to | reach out to my | will be happy to help | happy to assist | contact person | can also be
reached | please refer to | reach me at | please forward | is filling in | my replacement | my successor |
our front desk | bitte an | richten sie | ansprechpartner | erreichen sie | gerne weiter | senden sie |
vertritt mich | zur verfugung | schreiben sie | wenden sie | kontaktier | das sekretariat | hilft |
adressez-vous | adresser vos | merci d'adresser | vous pouvez joindre | est a votre disposition | contactez
| mes dossiers | sont suivis | suivi par | mon equipe | mon remplacant | mon successeur | merci de vous |
s'adresser a | adresse suivante | pueden dirigirse | puede dirigirse | dirigirse | dirijase | envie su
correo | envien sus | les atendera | le atendera | atendera | escriba a | contacten | contacte | comunicarse
con | comuniquese | llame al | neemt | neem contact | mailen naar | je kunt je richten | u kunt zich |
richten tot | u kunt bellen | kunt u mailen | kun je terecht | contact opnemen | vervangt mij | neemt mijn |
mijn werkzaamheden | procurar | encaminhe | escreva para | conte com | dara seguimento | contactar | contate
| favor enviar | dirija-se | pode contactar | podem contactar | falar com meu | contatar meu | contatar a |
contattate | contattare la | scrivete a | rivolgersi | rivolgervi | puo rivolgersi | potete scrivere | si
prega di scrivere | chiamare il | point of contact | for immediate help | resend your | please resend |
contact my assistant | my assistant | instead contact | ring my | is standing in | will assist | can assist
| can help you | looking after | deputising | ubernimmt | ubernehmen | vertritt | meine aufgaben |
assistentin | sofortige hilfe | durchwahl | erneut an | assure l'interim | interlocuteur | mon assistante |
mon assistant | renvoyer votre | aide immediate | mes fonctions | me remplace | remplace pendant | persona
de contacto | lleva mis | mis asuntos | mi asistente | ayuda inmediata | reenvie | reenvien | me sustituye |
me sustituira | aanspreekpunt | neemt waar | neemt mijn taken | mijn taken | mijn assistent | directe hulp |
opnieuw naar | vervanger | uw contact | minha assistente | meu assistente | ajuda imediata | reencaminhe |
responde por mim | seu contacto | seu contato | substitui | me substitui | assumira | mia assistente | mio
assistente | assistenza immediata | di nuovo il messaggio | vostro riferimento | suo riferimento | le mie
pratiche | mi sostituisce | segue le mie | durante la mia assenza | durante a minha | pendant mon absence |
durante mi ausencia | tijdens mijn | wahrend meiner abwesenheit | in dieser zeit | in der zwischenzeit |
mientras tanto | entretanto | nel frattempo | entre-temps | ondertussen | for sales | for all other |
switchboard | hr queries | finance queries | queries contact | die zentrale | rufen sie bitte | appelez le |
la centralita | de receptie | bel dan | ligue para a central | il centralino | appelez dan | urgencias con |
wichtiges bitte
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
pour toute demande urgente | urgence | demande urgente | en caso de urgencia | para asuntos urgentes | si es
urgente | urgente | cualquier urgencia | si necesita | voor dringende | bij spoed | dringende zaken | voor
spoed | in dringende gevallen | em caso de urgencia | assuntos urgentes | se for urgente | em caso de
emergencia | per urgenze | in caso di urgenza | per questioni urgenti | per motivi urgenti | per
comunicazioni urgenti | se urgente | something urgent | if it can't wait | cannot wait | can't wait | on
fire | need something before | need immediate | need assistance | requires immediate | very urgent |
emergenc | dringend | eilig | eilt | pour toute question | d'ici la | para urgencias | urgencias | temas
urgentes | cualquier consulta | cualquier asunto | bij dringend | spoedgevallen | spoed | voor dringend |
mensagens urgentes | assuntos inadiaveis | urgencia | per emergenze | per qualsiasi | urgenze | urgenti |
anything pressing | pressing matter | time-sensitive | time sensitive | nicht warten | keinen aufschub | pas
attendre | no puede esperar | no pueda esperar | niet wachten | nao pode esperar | nao puder esperar | non
puo aspettare | non puo attendere
"""),
    ),
    (
        "answer on return",
        phrases("""
upon my return | when we return | will be returning | returning on | _returning_ | get back to you on | je
traiterai votre | traiterai votre | on my return | when i return | when i get back | when i am back | when
i'm back | once i return | once i am back | as soon as i return | as soon as i am back | after my return |
respond to your email | respond to your message | reply to your email | reply to your message | get back to
you | respond to emails | i will return | i'll return | will be back | i'll be back | return to the office |
back in the office | returning to the office | i return on | back on | back in office | delay in respond |
delayed response | slow to respond | delay in my response | response may be delayed | respond as soon as |
reply as soon as | nach meiner ruckkehr | nach meinem urlaub | wieder im buro | wieder fur sie | wieder
erreichbar | wieder zuruck | wieder da | ab dem | melde mich | beantworte ich | werde ich | bin ich wieder |
wieder im haus | wieder personlich | wieder anwesend | zuruck im buro | beantwortet | a mon retour | des mon
retour | mon retour | de retour le | serai de retour | je reviens | reviendrai | retour au bureau | de
retour au bureau | de retour a partir | a mi regreso | a mi vuelta | cuando regrese | cuando vuelva | de
regreso | de vuelta | mi regreso | regreso el | vuelvo el | me reincorporo | me incorporo | mi vuelta |
responder a su | respondere | regresare | volvere | na mijn terugkeer | bij terugkomst | na terugkomst |
weer aanwezig | weer bereikbaar | weer op kantoor | ben ik weer | weer terug | bij mijn terugkomst | zo snel
mogelijk | na mijn vakantie | terug op | terugkomst | no meu retorno | no meu regresso | ao meu retorno |
quando voltar | quando regressar | assim que regressar | assim que voltar | assim que retornar | retorno no
dia | retorno em | retornarei | voltarei | regresso a | regressarei | de volta | apos o meu | meu retorno |
meu regresso | estarei de regresso | al mio rientro | al mio ritorno | al rientro | rientro il | rientrero |
saro di ritorno | tornero | di ritorno il | mio rientro | appena possibile | sara mia cura | nuovamente in
ufficio | di nuovo in ufficio | di nuovo disponibile | will reply when | will respond when | reply when i |
respond when i | respond upon | reply upon | reply after | responses may be | replies may be | response may
take | may be delayed | will be slow | reply on my next | my next working day | answer on my | return to
work | i return | will return | back at my desk | be back | back in the | to the office on | are back |
reopen | _back monday | _back tuesday | _back wednesday | _back thursday | _back friday | respond then |
reply then | melde mich nach | melde ich mich | danach melde | bin ich ab | ab montag | bin ab | am nachsten
arbeitstag | kummere ich mich | wieder fur | nach der ruckkehr | sobald ich | je reprends | vous repondrai |
repondrai a | repondrai des | reponse a mon | nous serons de | reouverture | nouveau joignable | de retour
lundi | de retour mardi | avant le | serai de | revenir vers vous | merci de votre comprehension |
responderé | contestare | retomare | volvemos | vuelvo a la | regresaremos | regresando | regreso | gracias
por su comprension | al volver | beantwoord ik | reageer ik | reageren | ik beantwoord | weer aan het werk |
weer in | zijn we er weer | ben ik terug | kom ik terug | responderei | retorno ao | regressando | regresso
| reabrimos | reabriremos | volto na | volto a | so volto | voltaremos | retorno | rispondero | torno lunedi
| torno il | torno in | rientro l | riapriremo | riapertura | leggero le mail | leggero | di nuovo operativ
| grazie per la comprensione | i expect to return | expect to be back | service resumes | in touch when |
will be back online | back online | back at work | lauft alles wieder | wieder normal | wieder im dienst |
wieder online | kehre | zuruckkehren | melde mich danach | bitte um verstandnis | um ihr verstandnis | fur
ihr verstandnis | apologies for any inconvenience | sorry for any inconvenience | any inconvenience | i
appreciate your patience | thank you for your patience | thank you for your understanding | reviens le |
serons de nouveau | nouveau a votre | a votre disposition | gene occasionnee | veuillez m'excuser | pour
votre comprehension | volveremos | a su disposicion | reincorpor | las molestias | por las molestias | de
nuevo en | disculpen | weer online | weer aan de slag | weer voor u | staan wij weer | excuses voor | voor
het ongemak | ongemak | voor uw begrip | beantwoorden wij | a seu dispor | ao seu dispor | transtorno |
desculpe o | pela compreensao | de volta ao | voltar ao | reabrir | a vostra disposizione | a sua
disposizione | per il disagio | disagio | rientrare | saremo di nuovo | ben ik er weer | ben er weer | bin
ich wieder da | sind wir wieder da | puede darse de baja
"""),
    ),
    (
        "thanks for the message",
        phrases("""
thank you for your email | thank you for your e-mail | thank you for your message | thank you for your note
| thanks for your note | thanks for your email | thanks for your e-mail | thanks for your message | thank
you for your mail | thanks for your mail | thank you for contacting | thank you for getting in touch |
thanks for contacting | thanks for reaching out | thank you for reaching out | thank you for writing |
vielen dank fur ihre | danke fur ihre | vielen dank fur deine | danke fur deine | besten dank fur ihre |
herzlichen dank fur ihre | merci pour votre | merci de votre | nous vous remercions de votre | je vous
remercie de votre | je vous remercie pour votre | j'ai bien recu votre | gracias por su | gracias por tu |
muchas gracias por su | gracias por contactar | gracias por escribir | he recibido su | bedankt voor uw |
dank voor uw | hartelijk dank voor uw | bedankt voor je | dank u voor uw | obrigado pelo seu | obrigada pelo
seu | obrigado por | obrigado pela | obrigada pela |
agradeco o seu | agradecemos o seu | agradeco a sua | obrigado pelo
contato | grazie per la sua | grazie per il tuo | grazie per la tua | grazie per il suo | la ringrazio per |
grazie per avermi | grazie per averci | vi ringrazio | grazie per il messaggio | grazie per la mail | thanks
for getting in touch | thanks for your e | thank you for reaching | thank you for your interest | danke fur
| vielen dank fur | dank fur ihre | merci pour | je vous remercie | agradezco su | bedankt voor | dank voor
| fijn dat je | obrigada por | obrigado pelo | obrigada pelo | agradeco o | agradeco a | grazie per | ti
ringrazio per | grazie del | grazie della
"""),
    ),
)

# A machine names itself, or a message that can't be a person's answer.
MACHINE = phrases("""
this is an automatic | this is an automated | this is an auto- | this is an auto_ | this is auto |
automatically generated | auto-generated | automated message | automated response | automated reply |
automatic reply | automatic response | auto reply | auto-reply | autoreply | autoresponder | auto-response |
auto response | generated automatically | do not reply to this | please do not reply | do not respond to
this | unattended mailbox | unmonitored mailbox | mailbox is not monitored | not monitored | no longer
monitored | no longer in use | inbox is not monitored | this email address is no longer | this mailbox is no
longer | not be forwarded | automatische antwort | automatisch generiert | automatisch erzeugt | automatisch
erstellt | automatische nachricht | automatische e-mail | automatische abwesenheit | automatische
ruckantwort | nicht weitergeleitet | bitte antworten sie nicht | antworten sie bitte nicht | nicht
automatisch weitergeleitet | automatisierte | autom. antwort | reponse automatique | message automatique |
genere automatiquement | envoye automatiquement | merci de ne pas repondre | ne pas repondre a ce | reponse
generee | message est automatique | n'est pas transfere | ne sera pas transfere | ne sont pas transferes |
respuesta automatica | mensaje automatico | generado automaticamente | correo automatico | por favor no
responda | no responda a este | generada automaticamente | no conteste a este | no sera reenviado |
automatisch antwoord | automatisch bericht | automatisch gegenereerd | automatische reactie | automatisch
verzonden | niet doorgestuurd | dit is een automatisch | gelieve niet te antwoorden | automatische melding |
niet op deze e-mail | resposta automatica | mensagem automatica | gerada automaticamente | gerado
automaticamente | por favor nao responda | nao responda a est | email automatico | e-mail automatico |
risposta automatica | messaggio automatico | generato automaticamente | generata automaticamente | non
rispondere a quest | si prega di non rispondere | inviato automaticamente | email automatica | messaggio e
stato generato | mailbox is no longer | address is no longer | inbox is no longer | is not being monitored |
isn't monitored | is unmonitored | not monitor this | nachricht wurde automatisch | automatisch versendet |
adresse wird nicht mehr | postfach wird nicht | nicht mehr gelesen | nicht mehr verwendet | wird nicht
uberwacht | ihre nachricht wird nicht | ihre e-mail wird nicht | ihre mail wird nicht | e-mails werden nicht
| wird nicht automatisch | adresse n'est plus | boite n'est plus | boite mail n'est | genere de facon
automatique | ceci est un message automatique | ni lus ni | ya no se utiliza | ya no esta activ | correo se
encuentra inactivo | dejara de estar operativ | cuenta de correo ya no | este buzon no | wordt niet meer
gelezen | niet meer in gebruik | wordt niet gelezen | worden niet gelezen | niet doorgezonden | nao e mais
utilizad | ja nao e utilizad | nao esta mais ativ | nao e monitorad | non e piu attiv | non e piu in uso |
casella non e | non verra letta | e un messaggio automatico | not be read or forwarded | will not be
forwarded | won't be forwarded | are not forwarded | is not forwarded | no se reenvi | inbox is checked |
mailbox is checked | inbox is only | postfach wird nur | boite est relevee | buzon se revisa | mailbox wordt
| caixa e lida | casella viene letta | email has been forwarded to | message has been forwarded to | e-mail
wurde an | mail wurde an | mail a ete transmis | message a ete transmis | correo ha sido reenviado | mail is
doorgestuurd | email foi reencaminhad | e-mail foi encaminhad | mail e stata inoltrata
""")

# Receipts of desks and ticket systems, challenges, and notes of a changed address.
RECEIPT = phrases("""
we have received your | we received your | your request has been received | your message has been received |
your email has been received | has been received and | ticket has been created | ticket has been opened | a
ticket has been | case has been created | a case has been | your ticket | your case number | your request
number | ticket number | ticket id | case number | reference number | will respond within | will reply
within | will get back to you within | get back to you within | business days | working days | one of our |
our support team | has been assigned | ist bei uns eingegangen | haben ihre anfrage | haben ihre nachricht |
haben ihre e-mail | eingangsbestatigung | ihre anfrage wird | ihre anfrage wurde | ticketnummer |
vorgangsnummer | werktagen | werktage | schnellstmoglich | avons bien recu | a bien ete recu | a bien ete
prise | a ete enregistree | numero de ticket | jours ouvres | accusons reception | accuse de reception |
dans les meilleurs delais | dans les plus brefs delais | hemos recibido su | hemos recibido tu | ha sido
recibid | su solicitud | dias laborables | dias habiles | acuse de recibo | hebben uw bericht | hebben uw
e-mail | hebben je bericht | is ontvangen | goed ontvangen | in goede orde ontvangen | werkdagen |
ontvangstbevestiging | recebemos a sua | recebemos o seu | recebemos sua | recebemos seu | foi recebid |
dias uteis | numero do chamado | numero do ticket | abbiamo ricevuto | e stata ricevuta | e stato ricevuto |
giorni lavorativi | numero di ticket | presa in carico | confirm that you are | verify that you are | to
complete delivery | click the link below to confirm | has been quarantined until | prove you are human |
spam arrest | boxbe | challenge-response | my email address has changed | my e-mail address has changed |
new email address is | new e-mail address is | update your address book | update your contacts | meine
e-mail-adresse hat sich | neue e-mail-adresse | nouvelle adresse e-mail | nouvelle adresse mail | mon
adresse e-mail a change | nueva direccion de correo | nieuw e-mailadres | nieuwe e-mailadres | novo endereco
de e-mail | nuovo indirizzo e-mail | nuovo indirizzo email | we will get back to you | we'll get back to you
| we will reply | a member of our team | will be in touch shortly | member of the team will | wir melden uns
| werden uns schnellst | werden uns umgehend | vous repondrons dans | vous repondra dans | reviendrons vers
vous | le responderemos | les responderemos | le contestaremos | nos pondremos en contacto | a la mayor
brevedad | bericht ontvangen | reageren binnen | nemen zo snel mogelijk | zo spoedig mogelijk | recebemos |
responderemos o | responderemos em | retornaremos o | entraremos em contato | o mais breve possivel | le
risponderemo | risponderemo al | risponderemo entro | al piu presto | la contatteremo | has received your |
received your enquiry | received your inquiry | your reference is | your reference number | within 24 hours
| within 48 hours | il tuo ticket | il suo ticket | ihr ticket | votre ticket | su ticket | uw ticket | je
ticket | seu ticket | wurde unter der | wurde erfasst | ticket wurde | innerhalb von 24 | innerhalb von 48 |
innerhalb von zwei | a bien ete enregistre | bien ete enregistree | sous le numero | sous 24 | sous 48 |
vous repond sous | ha quedado registrad | ha sido registrad | le respondera en | en 24 horas | en 48 horas |
is geregistreerd | onder nummer | binnen 24 uur | binnen 48 uur | binnen twee | foi registad | foi registrad
| respondera em | em 24 horas | em 48 horas | e stata registrata | e stato registrato | entro 24 | entro 48
| ricevera risposta | endeavour to reply | endeavor to reply | endeavour to respond | will reply as soon as
possible | will respond as soon as possible | this account is protected by | your message was received at
""")

# A person who takes up what we wrote. Each is about the exchange itself, which no standing note can be.
ENGAGED = phrases("""
let's talk | short answer | lets talk | let's chat | let's speak | let's connect | let's schedule | let's
set up | let's catch up | let us talk | happy to talk | happy to chat | happy to discuss | happy to connect
| sounds good | sounds great | sounds interesting | i'm interested | i am interested | not interested | i
would be interested | i'd be interested | i'd love to | i would love to | can we | could we | would you |
what's the | how about | tell me more | but yes | _yes, | yes please | _yes! | no thanks | no thank you |
_no, | that works | works for me | ping me | contact me again | write me again | write to me again | email
me again | get back to me | come back to me | talk then | speak then | talk soon | speak soon | follow up
with me | feel free to follow | reach out again | try me again | we can talk | we could talk | we can speak
| catch up when | catch up next | as discussed | your proposal | your offer | this role | your question | in
response to your question | attached is | i've attached | i have attached | see attached | salary | my cv |
my resume | btw | sorry for the late | sorry for the delay | klingt gut | klingt interessant | gerne konnen
wir | konnen wir | konnten wir | lassen sie uns | lass uns | _ja, | ja gerne | _nein, | nein danke |
schicken sie mir | das passt | passt mir | die stelle | aber gern | was genau | wie hoch | telefonieren |
ihr angebot | ca m'interesse | cela m'interesse | pouvez-vous | pouvons-nous | peux-tu | pourriez-vous | on
peut | _oui, | oui avec plaisir | _non, | non merci | envoyez-moi | le poste | parlons | discutons | on en
parle | quel est | quelle est | votre proposition | me interesa | estoy interesad | no me interesa | podemos
hablar | podriamos | podemos | podrias | _si, | no gracias | el puesto | hablemos | hablamos | suena bien |
enviame | envieme | cual es | su propuesta | tu propuesta | klinkt goed | klinkt interessant | ik heb
interesse | kunnen we | ja graag | _nee, | nee bedankt | de functie | laten we | wat is het | je voorstel |
uw voorstel | spreken we | tenho interesse | nao tenho interesse | estou interessad | podemos falar | _sim,
| _nao, | nao obrigad | a vaga | vamos falar | vamos conversar | parece bom | parece interessante | sua
proposta | falamos | sono interessat | mi interessa | non mi interessa | possiamo | potremmo | puo inviarmi
| potrebbe | no grazie | la posizione | parliamone | sentiamoci | ci sentiamo | tua proposta | call me |
ring me | text me | slack me | write me | email me next | feel free to ping | your out of office | your
out-of-office | your ooo | your automatic reply | your auto-reply | your vacation | my out-of-office | my
out of office | i was out | i was on | i was away | i've been out | i've been away | i have been away | just
got back | just back from | i'm back from | i am back from | apologies for the delay | apologies for the
late | sorry for my late | slow to reply | nothing before then | nothing will happen before | i've moved |
wait until you | i'll wait | _yeah | _yep | _sure, | _sure. | _sure! | _absolutely | _definitely | you
mentioned | you asked | your company | your team | your product | your service | would love | i'd rather |
the price | not looking | not the right | wrong person | try me | try again | try us | sprechen wir | reden
wir | horen wir uns | telefonieren wir | rufen sie mich | ruf mich | rufen sie gern | rufen sie mich gern |
ich rufe | ihre abwesenheit | deine abwesenheit | war im urlaub | war ich im | war letzte woche | war nicht
im | war krank | war bis | daher erst jetzt | bin wieder zuruck aus | komme gerade aus | ich warte | passt,
| passt. | danach gern | dann gern | davor wird | klingt | hort sich | interesse | spannend | melden sie
sich gern | melden sie sich dann | kommen sie | auf mich zu | schicken sie | der preis | preis ist | vorher
geht | suche nicht | ich suche | je vous rappelle | rappelez-moi | appelez-moi | je vous appelle | on
s'appelle | j'etais | votre absence | message d'absence | votre reponse automatique | votre message
automatique | revenez vers moi | recontactez | m'interesse | mais oui | j'attends votre | desole pour le
retard | desolee pour le retard | desole du retard | ecrivez-moi | relancez-moi | ok pour | d'accord | avec
plaisir | je ne cherche | le prix | apres cette date | a ce moment-la | te llamo | le llamo | llamame |
glad to talk | happy to talk | i'd be glad to speak | i'd be happy to speak |
telefoniere ich | dann rufe | dan bel | bel ik je graag | bel ik u graag | la chiamo | ti chiamo | la sento |
llameme | estaba de | estaba fuera | estuve | acabo de volver | acabo de regresar | he vuelto | tu ausencia
| su ausencia | mensaje de ausencia | tu respuesta automatica | pero me | escribeme | escribame | perdona el
| perdon por | disculpa el | disculpe la | _vale, | espero a que | hablar entonces | el precio | no busco |
por cierto | ik bel je | ik bel u | bel me | bel mij | ik was | je afwezigheid | uw afwezigheid |
afwezigheidsmelding | je out-of-office | maar het | maar ik | ik wacht | mail me dan | mag je me | mail me |
stuur me | late reactie | _prima, | ben ik onderweg | zullen we | klinkt | daarna graag | ik zoek | de prijs
| ligo para si | ligo-lhe | te ligo | me ligue | ligue-me | estava de | estive_ | acabei de voltar | sua
ausencia | mensagem de ausencia | sua resposta automatica | mas tenho | escreva-me | me escreva | me chame |
me procure | desculpe a demora | desculpa a demora | nessa altura | aguardo o seu regresso | nao procuro | o
preco | parabens | la richiamo | ti richiamo | mi chiami | chiamami | ero in ferie | ero fuori | ero assente
| sono tornat | appena tornat | sua assenza | tua assenza | sua risposta automatica | tua risposta
automatica | ma mi | mi scriva | scrivimi | mi scusi | scusa il | scusi il | attendo il suo | ne parliamo |
riparlare | mi ricontatti | non cerco | il prezzo | not available for | available for a | sono in ritardo |
scusate il | but i would | but i am interested | price is | look at this | look at it | look into this |
look into it | look at your | will read it | read it when | let you know | pick it up | pick this up |
let's_ | lets_ | about to go on | going on leave | going on holiday | going on vacation | before i go |
think about it | think about this | schaue mir | schaue ich mir | sehe ich mir | sehe mir | ich gehe jetzt |
gehe in urlaub | gehe jetzt | meinetwegen | je regarde | regarderai | je vous dis | je pars | on en reparle
| on se parle | lo miro | lo mirare | te digo | le digo | me voy | lo hablamos | lo vemos | kijk ernaar | ik
kijk er | kijk ik er | ik ga drie | ik ga op | ik ga volgende | daarna praten | laat het je weten | vejo
quando | vou ver | digo algo | vou de ferias | vou sair | falamos no | falamos quando | guardo quando | lo
guardo | le dico | ti dico | vado in | vado tre | ci aggiorniamo | le faccio sapere | ti faccio sapere |
free until | available until | i'm free | i am free | libre hasta | libera fino | livre ate | vrij tot |
frei bis | libre jusqu | my wife | my kids | my children | meine kinder | den kindern | mes enfants | mis
hijos | mijn kinderen | meus filhos | miei figli | you've written | you have written | you wrote | your mail
got | sie schreiben | votre quatrieme | properly | come back to you | i come back to you | vi ricordo | ti
ricordo | le ricordo | just a reminder | a reminder that | zur erinnerung | ich erinnere | os recuerdo | te
recuerdo | ter herinnering | lembro que | relembro | is the one responsible | ist dafur zustandig | est
responsable de | es el responsable | hiervoor verantwoordelijk | e o responsavel | e il responsabile | so i
can | so that i can | send me a | send me the | damit ich | pour que je | para que pueda | zodat ik | para
que eu | cosi posso | per poter
""")

# What mail programs of the languages put before the subject of an answer or of what they forward.
REPLY_PREFIXES = phrases("""
re | aw | antw | antwort | sv | vs | r | rif | res | ref | odp | rv | fw | fwd | wg | tr | enc | i | doorst
| rsp | re[2]
""")

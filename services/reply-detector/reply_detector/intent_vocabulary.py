"""The words by which people say what they think of what they were offered, in seven languages.

Folded as `fresh_text.fold` does. A phrase begins and ends at a word; a final `*` leaves its end open, and
`…` stands for up to four words of the same clause. The groups are looked for in this order, and what one has
found is hidden from the later ones: `not interested` never counts as `interested`.
"""

from reply_detector.vocabulary import phrases

# Not about the offer, although they ask, thank or name a role.
NEITHER = phrases("""
how did you get my* | how did you find me | how did you find my* | where did you get my* | how you got my* |
who is this | who are you | is this automated | is this a real* | are you a bot | is this ai | why are you
writing | why are you contacting | did you get my | did you receive my | did you mean | i wish you a nice |
woher haben sie meine* | woher haben sie | woher hast du | wie kommen sie an | wie sind sie an | wer sind
sie | was wollen sie | was genau wollen sie | sind sie ein bot | comment avez-vous eu | comment avez vous eu
| d'ou tenez-vous | ou avez-vous trouve | ou avez-vous eu | qui etes-vous | qui etes vous | de donde has
sacado | de donde sacaste | de donde habeis sacado | como has conseguido | como consiguio | de donde ha
sacado | quien eres | quien es usted | hoe kom je aan | hoe komt u aan | wie bent u | wie ben je | como
conseguiu | onde conseguiu | como obteve | quem e voce | quem e o senhor | come ha avuto | come hai avuto |
dove ha trovato | come avete avuto | chi e lei | chi sei | chi siete | noted | is noted | notiert | note . |
note ! | bien note | anotado | genoteerd | annotato | wait until you | i'll wait | i will wait | to myself |
remind me who | is this a template | a template | wer sie sind | qui vous etes | wie was je | quem e . | mi
ricorda chi | link … does not work | link is broken | leider nicht im | leider nicht da |
leider nicht erreichbar | link … geht nicht | lien … ne fonctionne pas | enlace
… no funciona | link … werkt niet | link … nao funciona | link … non funziona | what do you want from
""")

# What sounds like a refusal and is none.
AFTER_ALL = phrases("""
wouldn't say no | would not say no | can't say no | not uninteresting | nothing against | not opposed to |
why not | why don't we | not averse | abgeneigt bin ich nicht | nicht abgeneigt | nicht uninteressant |
spricht nichts dagegen | nichts dagegen | warum nicht | wieso nicht | pourquoi pas | pas contre | pas
oppose* | je ne dis pas non | no digo que no | por que no | no estaria mal | no me importaria | no es que no
me interese | no es que no | waarom niet | niet onwelwillend | zeg geen nee | geen bezwaar | por que nao |
nao digo que nao | perche no | non mi dispiacerebbe | non dico di no | no harm in | can't hurt | cannot hurt
| couldn't hurt | kann nicht schaden | schadet nicht | je n'ai rien contre | no estaria de mas | kan geen
kwaad | nao custa | non guasta | no problem | kein problem | pas de probleme | pas de souci | sin problema |
no hay problema | geen probleem | sem problema* | nessun problema | senza problemi
""")

WRONG_PERSON = phrases("""
not the right person | not the right contact | not the best person | not the correct person | wrong person |
wrong contact | wrong address | wrong petra | not the person | not the one who | not my area | not my
department | not my remit | not my responsibility | not responsible for | not in charge of | not involved in
| don't handle | do not handle | don't deal with | do not deal with | don't look after | i don't own this |
i no longer own | not my decision | not the decision maker | i don't decide | better person | better contact
| right person is | right person for this is | right contact is | right person would be | best person to |
person you need | person you want | you probably want | you may want to speak | you want our | you need to
speak | you need to talk | you should talk to | you should speak | you should contact | you should ask | you
could ask | should be directed to | please speak to | please speak with | please talk to | please ask |
please direct this | try contacting | try reaching | you may be looking for | you might be looking for |
looking for … instead | i've forwarded your | i have forwarded your | forwarding this to | i'll forward this
to | passing this on to | passing this to | passed this on | passed it on to | pass it on internally | pass
this on | pass it on to | sending this over to | adding … to the thread | looping in | copying him | copying
her | copying in | cc'ing | ccing | cc'd … who | in the loop | is copied | has been copied | who handles |
handles hiring | handles this | handles these | handles recruit* | who runs this | who owns | looks after
this | looks after that | is responsible for | is in charge of | that'd be a question for | that would be a
question for | i look after | i've moved to another | i have moved to another | moved to another department
| moved to a different | changed roles | changed departments | no longer in charge | no longer in that role
| no longer work in | no longer in this role | i've left | i have left | my replacement is | my successor is
| took over from me | has taken over | isn't me | is not me | nicht der richtige* | nicht die richtige* |
falscher ansprechpartner | falsche ansprechpartnerin | falsche person | die falsche | den falschen | nicht
zustandig | nicht mein bereich | nicht mein thema | nicht meine aufgabe | nicht meine baustelle | nicht
verantwortlich | nicht der entscheider | bin da raus | kummert sich | zustandig ist | zustandig sind |
verantwortlich ist | ansprechpartner ist | ansprechpartnerin ist | ansprechpartner hierfur | ansprechpartner
dafur | ansprechpartner ware | wenden sie sich an | wenden sie sich bitte an | wenden sie sich besser |
sprechen sie mit | sprechen sie bitte mit | sprich mit | fragen sie … kollegen | fragen sie am besten |
fragen sie bitte | macht bei uns | betreut bei uns | verantwortet bei uns | leite … weiter an | habe …
weitergeleitet | weitergeleitet an | weitergegeben an | in cc gesetzt | in kopie gesetzt | in cc genommen |
in kopie genommen | setze … in cc | setze … in kopie | nehme … in cc | in cc | arbeite nicht mehr in | nicht
mehr in diesem bereich | abteilung gewechselt | den bereich gewechselt | nicht mehr zustandig | mein
nachfolger | meine nachfolgerin | besser … kollegen | besser an | pas la bonne personne | pas la personne |
pas le bon interlocuteur | pas la bonne interlocutrice | pas le bon contact | mauvaise personne | mauvais
interlocuteur | pas de mon ressort | pas mon domaine | pas mon perimetre | pas moi qui | pas en charge |
plus en charge | ne m'occupe pas | ne m'occupe plus | ne gere pas | voyez avec | voir avec | adressez-vous a
| adressez vous a | contactez plutot | contacter plutot | parlez-en a | rapprochez-vous de | prenez contact
avec | s'occupe de | s'en occupe | est en charge | qui gere | qui s'occupe | en copie | transfere votre |
transfere a | transmis votre | transmets votre | je transmets a | change de service | change de poste en
interne | mon successeur | interlocuteur est | interlocutrice est | no soy la persona | no soy el
responsable | no soy la responsable | no soy quien | no soy yo | persona equivocada | persona incorrecta |
no es mi area | no es mi departamento | no es mi tema | no lo llevo yo | no llevo ese | no llevo estos | no
llevo yo | no me encargo | no me ocupo | no decido | otro departamento | lo lleva | quien lleva | la lleva |
se encarga | se ocupa de | el responsable es | la responsable es | la persona indicada es | la persona
adecuada es | habla con | hable con | hablad con | contacta con | contacte con | pongase en contacto con |
ponte en contacto con | dirijase a | dirigirte a | dirigete a | debes dirigirte | deberias tratarlo con |
deberias hablar con | escribe a | te paso su* | le paso su* | te paso el contacto | he reenviado | reenvio
tu | reenviado tu | he pasado | lo he pasado | se lo paso | en copia | ya no estoy en ese | ya no estoy en
este | ya no llevo | ya no me encargo | he cambiado de departamento | he cambiado de area | niet de juiste
persoon | niet de juiste* | verkeerde persoon | verkeerde adres | daar ga ik niet over | ga ik niet over |
niet mijn afdeling | niet mijn gebied | niet verantwoordelijk | beter bij | beter terecht bij | je kunt
beter | u kunt beter | je moet bij | u moet bij | moet je bij | moet u bij | neem contact op met | contact
opnemen met | spreek met | vraag het aan | gaat over | dat doet | doet de werving | is verantwoordelijk | ik
stuur … door | heb … doorgestuurd | doorgestuurd naar | doorgestuurd aan | doorgezet naar | staat in cc | in
de cc | zet … in cc | andere afdeling | niet meer op die afdeling | mijn opvolger | nao sou a pessoa | nao
sou o responsavel | nao sou a responsavel | pessoa errada | nao e a minha area | nao e minha area | nao e
comigo | nao sou eu | nao trato | nao cuido | nao me ocupo | fale com | falar com a | falar com o | procure
a | procure o | contacte o | contacte a | entre em contato com | entre em contacto com | quem trata | que
trata do | que trata disso | trata do recrutamento | quem cuida | e quem cuida | cuida disso | e o
responsavel | e a responsavel | responsavel por isso | em copia | encaminhei | reencaminhei | encaminho a |
vou encaminhar para | vou encaminhar ao | mudei de area | mudei de departamento | ja nao estou nessa | nao
estou mais nessa | outra area | outro departamento | non sono la persona | non sono io | persona sbagliata |
non e di mia competenza | non e il mio | non me ne occupo | non mi occupo | non sono il responsabile | non
sono la responsabile | non sono piu in | parli con | parla con | parlate con | si rivolga a | rivolgiti a |
rivolgersi a | contatti il | contatti la | contatta il | contatta la | se ne occupa | si occupa di | e il
responsabile | e la responsabile | in copia | metto in copia | ho girato | ho inoltrato | inoltro a | giro a
| girato la | segue le selezioni | segue la selezione | altro reparto | ho cambiato reparto | il mio
successore | talk to bob | talk to him about | talk to her about | speak to him | speak to her | not mine |
not me | best bet | don't do hiring | do not do hiring | i retired | i'm retired | i am retired | retired
last | you've got the wrong | you have the wrong | got the wrong | have the wrong | mistaken me | above my
pay grade | not the decision-maker | doesn't sit with me | sits with | decision sits | is the one who | is
the person who | cc'd her | cc'd him | cc'd my | i've copied | i have copied | i'm copying | i've passed | i
have passed | will forward | i'll pass it | let me connect you | let me introduce you | introduce you to |
put you in touch | connect you with | no longer responsible | i've handed over | handed this over | has
moved to | left this role | under my colleague | wrong department | different department | different team |
another team | another department | purchasing handles | procurement handles | hr handles | that's handled
by | handled by | taken care of by | nicht ich | reden sie mit | reden sie … mit | rede mit | in rente | im
ruhestand | pensioniert | den falschen erwischt | die falsche erwischt | falsche erwischt | verwechseln |
verwechselt | habe ihn in | habe sie in | ist in kopie | nicht meine entscheidung | entscheidet bei uns |
entscheidet | um einstellungen kummert | kummere mich nicht | nicht mein aufgabenbereich | andere abteilung
| anderer abteilung | falsche abteilung | zustandige abteilung | zustandiger kollege | an die zustandig* |
an unsere personalabteilung | personalabteilung wenden | den kontakt her | verantwortlicher ist | falsch bei
mir | bei mir falsch | sind sie bei mir | pas moi | parlez-en avec | parlez a | parlez avec | a la retraite
| trompez de personne | trompe de personne | erreur de destinataire | erreur de personne | les recrutements
c'est | les recrutements , c'est | c'est … qui decide | decide . | je l'ai mis en | je l'ai mise en | autre
service | un autre service | mauvais service | service concerne | je fais suivre | fait suivre | faire
suivre | vous mets en relation | vous mettre en relation | mets en relation | n'est pas moi | relève de |
releve de | plus mon poste | no yo | jubilado | jubilada | equivocado de persona | equivocada de persona |
te equivocas de persona | se equivoca de persona | se ocupa | se ocupan | lo decide | la decision es de |
decide … no yo | va en copia | esta en copia | le pongo en contacto | te pongo en contacto | os pongo en
contacto | lo gestiona | lo gestionan | lo reenvio | se lo reenvio | te has equivocado | otra area | otro
equipo | no depende de mi | no es mi competencia | no es de mi competencia | niet ik | praat met | spreek …
aan | met pensioen | de verkeerde | verkeerde afdeling | loopt via | gaat via | beslist | regelt dat |
regelt bij ons | verkeerd verbonden | staat in de cc | in kopie | ik verwijs je | verwijs u | doorverwezen |
daar is … voor | niet mijn pakkie | ander team | ik breng je in contact | in contact met mijn | nao eu |
aposentado | aposentada | reformado | reformada | enganou-se na pessoa | enganou-se | pessoa enganada | quem
decide e | decide e a | decide e o | cuida das contratacoes | cuida de contratacoes | trata das contratacoes
| das contratacoes e | esta em copia | outra equipa | outra equipe | nao depende de mim | ponho-o em
contacto | coloco voce em contato | em contato com a nossa | vou reencaminhar | non io | in pensione |
sbagliato persona | ha sbagliato | si occupa | se ne occupano | delle assunzioni | altro ufficio | altro
dipartimento | non dipende da me | la metto in contatto | ti metto in contatto | e in copia | lo gestisce |
li gestisce | glielo giro | lo giro | forwarding to our | forwarding to my | forwarding it to | forwarding
your | forwarding you to | forwarded to our | forwarded it to | forwarded to my | isn't something i deal |
not something i deal | nothing to do with | is run by | no idea who | don't know who | left … years ago |
left … a year ago | left the company | nichts zu tun | keine ahnung wer | keine ahnung , wer | nicht mehr
bei | leitet bei uns | rien a voir | aucune idee de qui | est dirige par | j'ai quitte | nada que ver | lo
dirige | ni idea de quien | deje … hace | niets mee te maken | geen idee wie | wordt geleid door |
vertrokken | nada a ver | e dirigido | faco ideia de quem | sai da | sai do | niente a che fare | e diretto
da | idea di chi | ho lasciato | contact our hr | contact our | contacter notre | contacter nos | contattare
il nostro | contattare la nostra | contattare l'ufficio | contactar a nuestro | nuestro departamento de |
unsere personalabteilung | unsere hr-abteilung | onze hr-afdeling | o nosso departamento | nosso rh |
should reach out to | should talk to | should speak to | should contact | want to reach out to | want to
talk to | would need to talk to | goes through | go through our | is handled in | my predecessor | i only
handle | i just handle | fuer diesen bereich | ist bei uns | liegt bei | leite ich … weiter | gebe ich …
weiter | gebe es weiter | falsche adresse | hier falsch | bitte direkt an | meine kollegin ist | mein
kollege ist | equivocaron de persona | equivocasteis de persona | se equivocaron | eso lo ve | quien ve | lo
ve el | pregunten por | pregunte por | mi reemplazo es | mi sucesor es | te paso con | le paso con | os paso
con | paso tu contacto | deberias contactar | deberia contactar | deberian contactar | debe contactar |
tendrias que hablar | habria que hablar | yo no llevo | no llevo esto | no llevo eso | no lo llevo | no me
corresponde | no me compete | no es para mi area | creo que esto no es para mi | vous devriez contacter | il
faudrait contacter | il faut contacter | il faut voir | vous pouvez voir avec | je ne suis pas le decideur |
je ne gere plus | c'est mon collegue qui | c'est ma collegue qui | ne releve pas | je passe votre message |
je vous redirige | je vous oriente | u moet zijn bij | je moet zijn bij | moet je zijn bij | ligt bij |
hoort bij | is de juiste persoon | kunt u beter | kun je beter | ik geef het door | geef het door aan | valt
onder | devia falar | deve falar | deveria falar | tem de falar | quem decide | numero errado | contato
errado | contacto errado | foi engano | nao e mais comigo | passo ao meu | passo a minha | vou passar para |
encaminhei seu | isso e com | dovrebbe parlare | dovreste parlare | deve rivolgersi | dovrebbe rivolgersi |
non seguo | non mi compete | non e compito mio | non decido io | chi se ne occupa e | passo la mail | la
passo a | lo passo a |
who manages our | who runs our | who handles our | die unser* … verantwortet | qui gere notre | que lleva
nuestr* | die ons … beheert | que gere o nosso | che gestisce il nostro | please reach out to | reach out to
our |
refer you to our | i'll refer you | forward your email | forward your message | is looped in
""")

NOT_NOW = phrases("""
not now | not right now | not at the moment | not at this time | not just now | not yet | not currently | no
time right now | bad time | bad timing | not a good time | not the right time | not the best time | isn't a
good time | isn't the right time | timing isn't | timing is not | timing is bad | not this year | not this
quarter | not this month | not for now | too busy right now | too busy at the moment | swamped | snowed
under | up to my neck | maybe later | later this year | later in the year | perhaps later | maybe next |
perhaps next | maybe in | perhaps in | try me again | try me in | try again in | try us | try me | circle
back | check back | come back to me | come back in | contact me again | reach out again | reach out after |
reach out in | reach back | get back to me in | get back to me after | follow up in | follow up next |
follow up after | ask me again | ping me again | ping me in | ping me after | ping me then | ping me next |
write again in | email me again | touch base in | touch base again | revisit | in a few weeks | in a few
months | in a couple of months | in six months | in 6 months | in 3 months | in three months | next quarter
| next year | in the new year | new year | after the summer | in autumn | in the autumn | in the fall | in
spring | in the spring | after easter | after christmas | hiring freeze | budget freeze | headcount freeze |
budget's gone | no budget this year | until q1 | until q2 | until q3 | until q4 | in q1 | in q2 | in q3 | in
q4 | nothing before | not before | call me tuesday after | call me after | talk to me in | wait until | park
this | put a pin | im moment nicht | momentan nicht | derzeit nicht | zurzeit nicht | aktuell nicht | gerade
nicht | jetzt nicht | noch nicht | aktuell bin ich nicht | derzeit bin ich nicht | im moment bin ich nicht |
momentan bin ich nicht | passt es leider nicht | passt es gerade nicht | passt es nicht | passt gerade nicht
| gerade schlecht | im moment schlecht | schlechter zeitpunkt | falscher zeitpunkt | ungunstig* | nicht der
richtige zeitpunkt | kein guter zeitpunkt | keine zeit | keine kapazitat* | vielleicht spater | spater gerne
| spater noch einmal | spater nochmal | vielleicht nachstes | nachstes jahr | im nachsten jahr | kommendes
jahr | im neuen jahr | nachstes quartal | im herbst | im fruhjahr | im sommer | im winter | nach dem sommer
| nach den ferien | nach den sommerferien | nach dem urlaub | nach weihnachten | nach ostern | in ein paar
wochen | in einigen wochen | in ein paar monaten | in einigen monaten | in einem halben jahr | in sechs
monaten | in drei monaten | melden sie sich … noch einmal | melden sie sich … wieder | melden sie sich gerne
im | melden sie sich gern im | kommen sie … auf mich zu | noch einmal auf mich zu | noch mal auf mich zu |
einstellungsstopp | budgetstopp | davor wird das nichts | danach gern* | vorher nicht | vorher geht | pas
maintenant | pas pour le moment | pas pour l'instant | pas actuellement | pas en ce moment | pas encore |
pas le bon moment | pas le moment | mauvais moment | pas tout de suite | peut-etre plus tard | plus tard |
l'annee prochaine | l'an prochain | annee prochaine | a la rentree | en septembre | apres l'ete | apres les
vacances | cet automne | a l'automne | au printemps | dans quelques semaines | dans quelques mois | dans six
mois | dans trois mois | le mois prochain | prochain trimestre | trimestre prochain | recontactez-moi |
recontactez moi | recontacter | revenez vers moi | relancez-moi | relancez moi | reparlons-en | reparlons en
| on en reparle | pas le temps | deborde* | gel des embauches | gel des recrutements | trop occupe* | pas
avant | ahora mismo no | por ahora no | de momento no | por el momento no | en este momento no | ahora no |
ahora mismo no es buen momento | no es buen momento | no es el mejor momento | no es el momento | mal
momento | todavia no | aun no | mas adelante | mas tarde | quiza mas | quizas mas | tal vez mas | el proximo
ano | el ano que viene | ano proximo | proximo trimestre | proximo mes | el mes que viene | en otono | en
primavera | despues del verano | tras el verano | a la vuelta de | despues de vacaciones | despues de las
vacaciones | despues de navidad | en unas semanas | en unos meses | dentro de unos meses | dentro de unas
semanas | en seis meses | en tres meses | escribeme en | escribame en | contactame en | contacteme en |
vuelve a escribirme | vuelve a contactarme | retomarlo | retomemos | lo retomamos | hablar entonces |
hablamos entonces | no tengo tiempo | no tenemos presupuesto | contrataciones congelad* | congelacion |
hasta enero | nu niet | nu even niet | op dit moment niet | momenteel niet | even niet | nog niet | niet het
juiste moment | geen goed moment | slecht moment | komt niet uit | niet zo goed uit | geen tijd | te druk |
misschien later | later dit jaar | misschien volgend | volgend jaar | volgend kwartaal | volgende maand | in
het najaar | in het voorjaar | in de herfst | na de zomer | na de vakantie | na kerst | over een paar weken
| over een paar maanden | over een half jaar | over zes maanden | over drie maanden | probeer het … nog eens
| probeer het later | kom er later | kom later | daarna mag je | daarna graag | dan weer mailen | nog eens
contact | vacaturestop | personeelsstop | agora nao | neste momento nao | no momento nao | de momento nao |
por agora nao | por enquanto nao | ainda nao | nao e uma boa altura | nao e boa altura | nao e um bom
momento | nao e o melhor momento | nao e o momento | ma altura | mais tarde | mais para a frente | mais para
frente | talvez mais | talvez no proximo | no proximo ano | ano que vem | no proximo mes | mes que vem | no
outono | na primavera | depois do verao | depois das ferias | apos as ferias | depois do natal | daqui a
umas semanas | daqui a uns meses | daqui a seis meses | em alguns meses | em algumas semanas | volte a
contactar* | volte a falar* | volte a escrever | me procure em | me chame em | me chama em | nessa altura |
nao tenho tempo | contratacoes congelad* | congelamento de | podemos falar entao | retomar em | non ora |
non adesso | in questo momento no | al momento no | per ora no | per il momento no | non ancora | non e il
momento | non e un buon momento | non e il momento giusto | brutto momento | momento sbagliato | piu avanti
| piu tardi | magari piu | magari l'anno | l'anno prossimo | anno prossimo | prossimo trimestre | il mese
prossimo | mese prossimo | in autunno | in primavera | dopo l'estate | dopo le ferie | dopo le vacanze |
dopo natale | tra qualche settimana | tra qualche mese | fra qualche mese | fra qualche settimana | tra sei
mesi | tra tre mesi | mi ricontatti | ricontattami | ricontattatemi | mi risenta | risentiamoci | riparlare
allora | riparliamone | ne riparliamo | ne possiamo riparlare | ne parliamo piu | non ho tempo | blocco
delle assunzioni | assunzioni bloccate | non prima di | too early | still too early | pick this up | pick it
up | pick it back up | pick up again | buried until | later in the | some other time | another time | at a
later | at a later date | when things calm | when it calms | in the second half | second half of | remind me
in | back to you in | keep me in mind | keep us in mind | keep in mind for | in the future | for the future
| down the line | down the road | not ready | on the back burner | in january | in february | in march | in
september | in october | in november | in december | in august | next month | in the coming months | few
months | couple of months | half a year | end of the year | zu fruh | noch zu fruh | im nachsten quartal |
nachsten quartal nochmal | nachsten monat | kommenden monat | wieder aufgreifen | wieder aufnehmen | spater
wieder | ein andermal | ein anderes mal | zu einem spateren | spaterer zeitpunkt | zu gegebener zeit | bei
gelegenheit | auf sie zuruck | nach meiner elternzeit | danach weiter* | im januar | im februar | im marz |
im september | im oktober | im november | im dezember | im august | zweite halfte | zweiten halbjahr |
halbes jahr | ende des jahres | jahresende | keinen kopf | viel zu tun | land unter | trop tot | encore trop
tot | reprendre cela | reprendre ca | reprendre en | reprendre plus | en reparler | un autre moment | une
autre fois | ulterieurement | a l'avenir | pas la tete a ca | en janvier | en fevrier | en mars | en octobre
| en novembre | en decembre | en aout | fin d'annee | second semestre | prochains mois | quelques mois |
revenez en | revenez le | trimestre | es pronto | demasiado pronto | muy pronto para | retomar | retomarla |
en otro momento | otro momento | otra ocasion | en el futuro | a futuro | no tengo cabeza | a la vuelta | en
enero | en febrero | en marzo | en septiembre | en octubre | en noviembre | en diciembre | en agosto | fin
de ano | finales de ano | segundo semestre | proximos meses | unos meses | nog te vroeg | te vroeg | weer
oppakken | oppakken | ander moment | andere keer | later een keer | in de toekomst | na mijn vakantie |
daarna praten | in januari | in februari | in maart | in oktober | in augustus | eind van het jaar | einde
van het jaar | komende maanden | paar maanden | hoofd staat er niet naar | weer bij | nog eens | e cedo |
muito cedo | cedo para | noutra altura | outra altura | outro momento | no futuro | nao tenho cabeca | no
regresso | na volta | em janeiro | em fevereiro | em marco | em setembro | em outubro | em novembro | em
dezembro | em agosto | fim do ano | final do ano | alguns meses | e presto | troppo presto | ancora presto |
riprenderlo | riprenderla | riprendere | riprendiamo | un altro momento | in un altro momento | un'altra
volta | in futuro | non ho la testa | al rientro | a gennaio | a febbraio | a marzo | a settembre | a
ottobre | a novembre | a dicembre | ad agosto | fine anno | secondo semestre | prossimi mesi | qualche mese
| il prossimo trimestre | house move | moving house | drop me a line in | drop me a line | in april | in may
| in june | in july | mitten im umzug | im juni | im juli | im mai | im april | schreiben sie mir im |
demenagement | ecrivez-moi en | en juin | en juillet | en mai | en avril | mudanza | en junio | en julio |
en mayo | en abril | verhuizing | in juni | in juli | in mei | mail me in | mudanca de casa | escreva-me em
| em junho | em julho | em maio | em abril | trasloco | mi scriva a | a giugno | a luglio | a maggio | ad
aprile | two months | three months | six months | zwei monaten | drei monaten | sechs monaten | deux mois |
trois mois | six mois | dos meses | tres meses | seis meses | twee maanden | drie maanden | dois meses | due
mesi | tre mesi | isn't great | isn't ideal | reessayez | riprovi | intentalo | tente mais | momentan ist es |
sem tempo | quem sabe depois | estamos fechando | estamos em reestruturacao | estamos a fechar | no
encerramento | quem sabe | cerrando presupuesto | este trimestre | no es prioridad este | hasta que … no
puedo | buscame | contactame alrededor | no es prioridad ahora | estamos en auditoria | zur zeit nicht | zur
zeit kein | zurzeit kein | momentan kein | melden uns bei bedarf | wir melden uns von | kommen … auf sie zu
| bei bedarf melden | bei bedarf kommen | nous reviendrons vers vous | reviendrai vers vous | si besoin je |
le cas echeant | we'll reach out if | will reach out if | will get in touch if | if things change | if that
changes | if anything changes | should that change | once we have | once things settle | si cambia algo | si
algo cambia | se cambia qualcosa | se qualcosa cambia | se algo mudar | caso mude | als dat verandert |
mocht dat veranderen | sollte sich das andern | falls sich das andert | si cela change | si ma situation
""")

NOT_INTERESTED = phrases("""
not interested | no interest | not … interested | don't have … interest | isn't of interest | not of
interest | lost interest | no thank you | no thanks | no thx | thanks but no | thank you but no | thanks ,
but no | thank you , but no | i'll pass | i will pass | going to pass | have to pass | we'll pass | we will
pass | i decline | must decline | have to decline | respectfully decline | politely decline | not for me |
not for us | isn't for me | isn't for us | not my thing | not my cup | not a fit | not a good fit | not the
right fit | isn't a fit | isn't a good fit | isn't the right | not a match | not … be a good
match | not … a good match | closely with my career | not what i'm looking for | not
what i am looking for | not looking | not actively looking | not in the market | not open to | not
considering | no need | don't need | do not need | not needed | not relevant | not applicable | isn't
relevant | not a priority | isn't a priority | no plans to | not planning | happy where i am | happy in my |
happy at my | happy with my | happy with our | happy with what | quite happy here | very happy here | happy
here | content where | settled in | all set | we're covered | already have a | already have an | already
have someone | already working with | already work with | already use | solution in place | have a provider
| have a supplier | have a vendor | just signed | just changed jobs | just accepted | new job last |
recently started | recently joined | don't want to | do not want to | wouldn't want | wouldn't work for me |
not willing to | not hiring | aren't hiring | are not hiring | not recruiting | in house | in-house |
in-house team | withdraw | found another | found something else | accepted another | accepted an offer |
gone with | went with another | decided against | not move forward | won't be moving forward | not proceed |
too junior | too senior | too far | too low | good luck with the search | good luck with your search | best
of luck with your search | waste of time | not worth | go away | sorry , no | sorry no | no , sorry | never
heard | would never | kein interesse | keinerlei interesse | kein … interesse | nicht interessiert | nicht …
interessiert | uninteressant | nein danke | nein , danke | nein vielen dank | nein , vielen dank | danke
nein | danke , nein | nichts fur mich | nichts fur uns | nicht das richtige | nicht in frage | nicht infrage
| kein bedarf | keinen bedarf | keinen … bedarf | nicht auf der suche | suche nicht | suche nichts | suche
keine* | nicht auf jobsuche | nicht wechseln | kein wechsel | keinen wechsel | nicht wechselwillig | sehr
zufrieden | bin zufrieden | zufrieden in meiner | zufrieden mit | glucklich in meiner | fuhle mich … wohl |
gut aufgehoben | bleibe ich | bleibe lieber | mochte ich nicht | mochte nicht | mochte ablehnen | ablehnen |
lehne … ab | muss absagen | muss leider absagen | sage ab | absage | gerade erst gewechselt | gerade erst
angefangen | erst angefangen | erst gewechselt | neue stelle angetreten | neuen job | bereits versorgt |
sind versorgt | festen partner | bereits einen partner | bereits einen anbieter | haben bereits | arbeiten
bereits mit | passt nicht zu | passt leider nicht zu | nicht relevant | brauchen wir nicht | benotigen wir
nicht | benotigen … nicht | verzichten | kommt nicht … frage | von abstand | nehme abstand | stellen nicht
ein | leider nein | anderweitig entschieden | dagegen entschieden | fur etwas anderes entschieden | zu weit
weg | pas interesse* | pas … interesse* | n'est pas … interess* | ne m'interesse pas | ne m'interesse … pas
| ne nous interesse pas | aucun interet | sans interet | non merci | non , merci | merci mais non | merci ,
mais non | ne souhaite pas | ne souhaitons pas | ne desire pas | ne veux pas | ne cherche pas | ne recherche
pas | ne suis pas a la recherche | pas en recherche | pas a l'ecoute | ne correspond pas | ne convient pas |
pas pour moi | pas pour nous | pas ce que je | pas fait pour moi | ne donne pas suite | ne donnerai pas
suite | ne donnerons pas suite | pas donner suite | decline | decliner | je refuse | je passe mon tour | pas
besoin | pas de besoin | aucun besoin | n'avons pas besoin | n'avons pas de besoin | pas … besoin | deja un
prestataire | deja un fournisseur | deja un partenaire | deja equipe* | deja pourvu* | viens de changer |
viens de commencer | viens de prendre | viens de signer | bien dans mon poste | bien ou je suis | tres bien
ou | tres bien dans | heureux dans | heureuse dans | satisfait de | satisfaite de | satisfait dans | pas
demenager | pas bouger | bonne continuation | pas prioritaire | pas une priorite | hors de question |
malheureusement non | desole mais non | desolee mais non | no me interesa* | no nos interesa* | no …
interesa | no estoy interesad* | no estamos interesad* | no estaria interesad* | no … interesad* | sin
interes | no tengo interes | no tenemos interes | ningun interes | no gracias | no , gracias | gracias pero
no | gracias , pero no | no , no | no quiero | no queremos | no deseo | no busco | no buscamos | no estoy
buscando | no estamos buscando | no encaja | no me encaja | no nos encaja | no es para mi | no es para
nosotros | no es lo que busco | no es lo mio | no es nuestro caso | no necesito | no necesitamos | no
tenemos necesidad* | no tenemos … necesidad* | no nos hace falta | no hace falta | no procede | no aplica |
paso , gracias | prefiero no | declino | rechazo | ya tenemos | ya tengo | ya trabajamos con | tenemos
proveedor y no | contento donde | contenta donde | contento en mi | contenta en mi | feliz en mi | feliz
donde | a gusto donde | estoy bien donde | acabo de cambiar | acabo de empezar | acabo de incorporarme |
acabo de firmar | no es prioridad | no es una prioridad | no me planteo | no contemplo | no vamos a
contratar | no contratamos | no cambiar | lo hacemos internamente | internamente | no me voy a mudar | lo
siento pero no | lo siento , no | no tenemos presupuesto disponible | geen interesse | geen … interesse |
niet geinteresseerd | niet … geinteresseerd | niet interessant | nee bedankt | nee , bedankt | nee dank je |
nee , dank je | nee dank u | nee , dank u | bedankt maar nee | niets voor mij | niks voor mij | niets voor
ons | niet voor mij | niet op zoek | zoek niets | zoeken niets | zoek niet | zoeken niet | zoek geen | niet
wat ik zoek | past niet | niet passend | prima op mijn plek | goed op mijn plek | op mijn plek | naar mijn
zin | tevreden met | tevreden in | blij met mijn | gelukkig bij | net van baan | net begonnen | net
gewisseld | net gestart | nieuwe baan | al een vaste | al een partner | al een leverancier | al voorzien |
reeds voorzien | hebben al een | werken al met | geen behoefte | geen behoefte aan | niet nodig | hebben we
niet nodig | wil niet | wil ik niet | willen niet | laat ik … voorbij | sla ik over | sla over | ik bedank |
bedank ik | moet ik afwijzen | wijs ik af | zie ervan af | zie er van af | helaas nee | succes met zoeken |
succes met je zoektocht | geen prioriteit | nemen niemand aan | te ver weg | nao tenho interesse | nao temos
interesse | nao … interess* | sem interesse | nenhum interesse | nao estou interessad* | nao estamos
interessad* | nao me interessa | nao obrigad* | nao , obrigad* | obrigado mas nao | obrigada mas nao |
obrigado , mas nao | nao quero | nao queremos | nao pretendo | nao pretendemos | nao procuro | nao
procuramos | nao estou a procura | nao estou procurando | nao estou buscando | nao busco | nao e para mim |
nao e o que procuro | nao e o que | nao se enquadra | nao encaixa | nao se encaixa | nao se adequa | nao
preciso | nao precisamos | nao temos necessidade | sem necessidade | ja temos | ja tenho | ja trabalhamos
com | feliz na minha | feliz no meu | feliz onde | satisfeito com | satisfeita com | satisfeito na |
satisfeita na | satisfeito no | satisfeita no | contente onde | bem onde estou | acabei de mudar | acabei de
comecar | acabei de aceitar | acabei de entrar | recuso | vou recusar | vou declinar | prefiro nao |
dispenso | nao e prioridade | nao e uma prioridade | nao vou avancar | nao avancar | nao contratamos | nao
estamos contratando | boa sorte com a procura | non mi interessa* | non ci interessa* | non … interess* |
non sono interessat* | non siamo interessat* | nessun interesse | senza interesse | no grazie | no , grazie
| grazie ma no | grazie , ma no | siamo a posto | sono a posto | non cerco | non cerchiamo | non sto
cercando | non stiamo cercando | non sono alla ricerca | non fa per me | non fa per noi | non fa al caso |
non e in linea | non in linea | non corrisponde | non e quello che | non e cio che | non voglio | non
vogliamo | non intendo | non intendiamo | non desidero | non ho bisogno | non abbiamo bisogno | non ne
abbiamo bisogno | non ci serve | non serve | non necessit* | abbiamo gia | ho gia | gia un fornitore | mi
trovo bene | sto bene dove | sono contento dove | sono contenta dove | sono felice | soddisfatto |
soddisfatta | appena cambiato | appena iniziato | appena cominciato | appena accettato | rifiuto | devo
rifiutare | devo declinare | preferisco non | passo , grazie | non e prioritari* | non e una priorita |
purtroppo no | mi dispiace ma no | non assumiamo | non voglio trasferirmi | in bocca al lupo per la ricerca
| leider nicht . | helaas niet . | infelizmente nao . | lamentablemente no . | just started a | just started
in | just started with | just joined a | just joined my | stay put | stay where i | staying where i | i'll
stay | i will stay | staying with | don't use agencies | don't use recruit* | don't work with | do not work
with | don't outsource | isn't something we | not something i | not something we | hard pass | pass on this
| take a pass | new contract | signed a contract | too long for me | too far for me | the commute | don't
think so | don't think it's | don't think this is | i'm good | we're good | we are good | no longer looking
| off the market | rather not | not relocating | not moving | can't relocate . | below my | doesn't fit |
does not fit | doesn't suit | doesn't interest | does not interest | doesn't appeal | does not appeal |
leave it | not my kind | turn down | turning down | turn this down | am declining | i'm declining | no from
me | it's a no | that's a no | doubt that | won't change | not change my | not for sale | stop selling | not
buying | not in need | no use for | no budget | happily employed | gainfully employed | love my job | love
my current | enjoy my current | like my job | have to say no | got a new job | just got promoted | recently
promoted | new role | new position | personalvermittlern zusammen | arbeiten nicht mit | nicht … zusammen |
neuen vertrag | vertrag unterschrieben | absagen | abzusagen | abgesagt | zu weit | zu lang fur | arbeitsweg
| bleibe wo | bleibe , wo | bleibe bei | bleibe hier | bleiben bei | nicht andern | lieber nicht | eher
nicht | wohl nicht | nicht mein ding | kein thema fur | bin versorgt | nicht offen fur | kann ich mir nicht
vorstellen | nicht vorstellen | anders entschieden | zu junior | suchen nicht | suchen niemanden | nicht zu
mir | nicht zu uns | ohne mich | kein budget | interessiert mich nicht | interessiert uns nicht | nicht
gewunscht | nicht erwunscht | uberzeugt mich nicht | fuhle mich wohl | gefallt mir hier | habe bereits einen
| bin gerade befordert | nein . | nein ! | nein und | nein leider | reste ou je | je reste | rester ou | ne
travaillons pas avec | ne travaille pas avec | nouveau contrat | signer un nouveau | devoir refuser |
refuser | au regret | trop long pour | trop loin | trajet | ne changera pas | je ne pense pas | ne pense pas
que | pas du tout | sans facon | pas preneur | pas mon truc | ne me correspond | ne nous correspond | ne
m'attire pas | pas convaincu* | ne me convient | pas disponible pour | pas candidat* | j'ai trouve | j'ai
accepte | deja trouve | pas de budget | n'externalisons pas | heureux ou | heureuse ou | j'aime mon |
epanoui* | ca ira | non . | non ! | non , desole* | non , et | me quedo donde | me quedo en | quedarme donde
| no trabajamos con | no trabajo con agencias | contrato nuevo | nuevo contrato | firmar un contrato |
rechazar | tener que rechazar | demasiado largo | demasiado lejos | trayecto | no va a cambiar | no creo que
| de ninguna manera | para nada | no va conmigo | no es mi perfil | prefiero quedarme | no por mi parte | no
me convence | no me atrae | no me apetece | no me sirve | no nos sirve | ya lo tenemos | lo tenemos cubierto
| cubierto | ya estoy servido | no me mudo | he aceptado | ya he encontrado | no externalizamos | no hay
presupuesto | feliz aqui | muy a gusto | estoy bien aqui | no . | no ! | no y | blijf zitten | blijf waar |
blijf liever | werken niet met | werk niet met | nieuw contract | contract getekend | teleurstellen | teleur
te stellen | te lang zijn | te ver | reistijd | niet veranderen | liever niet | geen zin | niet mijn ding |
zie ik niet zitten | sla dit | ik pas . | ik pas ervoor | trekt me niet | trekt mij niet | spreekt me niet
aan | heb al een | ben al voorzien | besteden niet uit | niet interesseert | interesseert me niet |
interesseert mij niet | heb iets anders | andere baan | aangenomen elders | geen budget | zit hier goed |
bevalt me hier | nee . | nee ! | nee en | nee , en | nee sorry | nee , sorry | vou ficar onde | fico onde |
ficar onde | nao trabalhamos com | nao trabalho com | contrato novo | novo contrato | assinar um contrato |
recusar | ter de recusar | ter que recusar | longo demais | longe demais | demasiado longe | percurso | nao
vai mudar | nao vou mudar | nao creio | nao acho que | de jeito nenhum | nao e o meu perfil | nao faz
sentido | vou passar | nao me convence | nao me atrai | nao me serve | nao nos serve | ja estou servid* | ja
aceitei | ja encontrei | nao terceirizamos | nao ha orcamento | sem orcamento | estou bem aqui | gosto do
meu | nao . | nao ! | nao e | resto dove | rimango dove | restare dove | rimanere dove | non lavoriamo con |
non lavoro con | nuovo contratto | firmato un | dover rifiutare | rifiutare | troppo lungo | troppo lontan*
| tragitto | non cambiera | preferisco di no | direi di no | non credo | sto bene cosi | sto bene qui | non
e il mio | non mi convince | non mi attira | non mi attrae | non mi serve | non esternalizziamo | ho
accettato | ho gia trovato | abbiamo gia trovato | non c'e budget | nessun budget | mi piace il mio | amo il
mio | no , e | no e | pass . | filled all | positions are filled | already filled | in meinem job glucklich
| glucklich in | job glucklich | alle stellen | stellen … besetzt | postes sont pourvus | poste est pourvu |
feliz en mi trabajo | cubierto todas | plazas cubiertas | gelukkig in mijn | plekken … vervuld | alle
vacatures | feliz no meu trabalho | preenchemos todas | vagas preenchidas | felice nel mio | coperto tutte |
posizioni coperte | current role but | current job but | no , thank you | no , thanks | no , not | thanks
but no thanks | thank you , no | thanks , no | no , we | no , i'm good | went with someone else | gone with
someone | went in another direction | going in another direction | not relevant to us | passing on this |
not something i'm | i'm good , thanks | we are set | i'm set | passt nicht fur | passt nicht so | haben das
schon | machen das selbst | machen wir selbst | machen das intern | selbst inhouse | kommt fur mich nicht |
kommt fur uns nicht | ist nichts fur | ca ne nous concerne | cela ne nous concerne | nous avons deja | j'ai
deja | nous avons ce qu'il | on a ce qu'il | nous faisons … en interne | en interne deja | no va a ser
posible | no seria para | estamos conformes | estamos contentos con | estamos bien asi | no quiero cambiar |
doen het zelf | doen dit zelf | doen we zelf | hebben we al | hebben wij al | zijn al voorzien | is niets
voor | is niks voor | nao e para a gente | nao e para nos | estamos bem servidos | fazemos internamente |
nao faz sentido para | siamo gia coperti | facciamo internamente | lo facciamo noi | non rientra | non e di
nostro interesse | non e di mio interesse | non di nostro interesse | net een nieuwe | al een nieuwe |
hebben we net | not right for us | non vraiment pas | vraiment pas
""")

INTERESTED = phrases("""
interested | interesting | intriguing | intrigued | of interest | sounds good | sounds great | sounds like
fun | sounds exciting | sounds perfect | sounds fun | sounds fascinating | happy to talk | happy to chat |
happy to speak | happy to discuss | happy to connect | happy to meet | happy to hear | happy to have | happy
to jump | happy to learn | glad to talk | glad to chat | open to | keen to | keen on | would love to | i'd
love to | love to hear | love to chat | love to learn | i'd like to know | would like to know | like to hear
more | like to know more | like to learn more | like to understand | like to see | curious | tell me more |
tell us more | more about | more details | more detail | more information | more info | learn more | know
more | hear more | send me | send over | send it | send us | send across | please share | could you share |
can you share | can you send | could you send | could you tell | can you tell | share a deck | share the |
job description | jd | let's talk | lets talk | let's chat | lets chat | let's speak | let's connect | let's
schedule | let's set | let's do | let's have | let's meet | let's go | let's see | lets see | set up a call
| set up a time | set up a meeting | set something up | schedule a | book a | book me | book it | calendly |
calendar invite | an invite | jump on a call | hop on a call | quick call | have a call | arrange a | can we
speak | can we talk | can we chat | can we set | could we | shall we | when can we | when could we | when
suits | when would | what time | which time | how about | what about | works for me | works for us | that
works | work for you | works well | suits me | is fine | i'm free | i am free | i'm available | i am
available | available on | my availability | free on | give me a call | call me | salary | compensation |
pay range | day rate | the rate | remote | hybrid | home office | relocation | visa | tech stack | the stack
| team size | the team | which team | what stack | what's the role | what is the role | where is the | where
are you based | what does it cost | how much | pricing | price | demo | the next step | next steps |
proposal | good timing | timely | yes please | yes , please | yes | yeah | yep | sure | sure thing | of
course | absolutely | definitely | gladly | with pleasure | count me in | i'm game | i'll bite | go ahead |
by all means | i'm listening | all ears | my cv | my resume | attached my | attached is my | i've attached |
keep me posted | looking forward to | i am looking for | i'm looking for | actively looking | evaluating |
see the job | interessant* | interessiert | interesse | hort sich gut | hort sich spannend | hort sich
interessant | klingt gut | klingt spannend | klingt interessant | klingt super | spannend | neugierig |
gerne | gern | sehr gerne | mit vergnugen | offen fur | grundsatzlich offen | bin offen | schicken sie |
schick mir | senden sie | zusenden | mehr erfahren | mehr dazu | mehr uber | mehr infos | mehr informationen
| mehr details | weitere informationen | weitere infos | weitere details | naheres | genaueres | erzahlen
sie | erzahl mir | stellenbeschreibung | stellenprofil | ruf mich | telefonieren | telefonat | sprechen wir
| lassen sie uns | lass uns | konnen wir | konnten wir | wollen wir | wann hatten sie | wann passt | wann
konnen | wann ware | wann haben sie | termin | terminvorschlag | passt mir | passt gut | passt , | passt . |
wurde passen | ware gut | hatte ich zeit | ich hatte am | hatte am | habe zeit | hatte zeit | ja , | ja . |
ja ! | ja gern* | klar | auf jeden fall | na klar | einverstanden | machen wir | gehalt | gehaltsspanne |
verdienst | vergutung | stundensatz | tagessatz | homeoffice | home-office | remote-anteil | standort |
welches team | teamgrosse | techstack | tech-stack | welche technologien | was kostet | wie viel kostet |
preis | preise | angebot ware | lebenslauf | im anhang | freue mich auf | ich freue mich | interesse* |
m'interesse | ca m'interesse | avec plaisir | volontiers | avec grand plaisir | curieux | curieuse | a
l'ecoute | ouvert a | ouverte a | envoyez-moi | envoyez moi | envoie-moi | pouvez-vous m'envoyer |
transmettez-moi | en savoir plus | en dire plus | m'en dire plus | plus de details | plus d'informations |
plus d'infos | davantage d'informations | precisions | fiche de poste | descriptif | parlons-en | parlons en
| parlons | discutons | discutons-en | echanger | un echange | on en parle | on s'appelle | appelez-moi |
appelons-nous | un appel | rendez-vous | rdv | visio | quelles sont vos disponibilites | vos disponibilites
| mes disponibilites | quand etes-vous | quand seriez-vous | quand peut-on | quand pouvons | je suis
disponible | suis dispo | disponible le | disponible jeudi | disponible lundi | me convient | me va | ca me
va | ok pour | d'accord | oui | bien sur | volontier | salaire | remuneration | tjm | teletravail | a
distance | localisation | quelle equipe | l'equipe | stack | technologies | prix | tarif | tarifs | combien
| mon cv | ci-joint | au plaisir | interesa | interesad* | interesante | interesa mucho | me encantaria |
encantado | encantada | encantados | con gusto | con mucho gusto | curiosidad | abierto a | abierta a |
suena bien | suena interesante | suena genial | pinta bien | me encaja | enviame | envieme | enviadme |
envianos | mandame | mandeme | pasame | pasanos | puedes enviar* | podrias enviar* | puede enviar* | mas
informacion | mas detalles | mas info | los detalles | contarme mas | cuentame | cuenteme | saber mas |
conocer mas | descripcion del puesto | hablemos | hablamos | podemos hablar | podriamos hablar | podemos
hacer | podemos reunirnos | podemos vernos | podemos ver | podemos conocer* | agendamos | agendemos |
reunion | reunirnos | una llamada | llamada | llamame | llameme | videollamada | convocatoria | quedamos |
cuando podemos | cuando podriamos | cuando te viene | cuando le viene | cuando tienes | que horario | me
viene bien | me va bien | tengo un hueco | tengo disponibilidad | estoy disponible | mi disponibilidad | de
acuerdo | perfecto | claro | claro que si | por supuesto | desde luego | si , | si . | si ! | vale , | vale
. | adelante | salario | sueldo | retribucion | teletrabajo | en remoto | es remoto | remoto | hibrido |
ubicacion | que equipo | el equipo | tecnologias | cuanto cuesta | cuanto pagan | precio | precios |
presupuesto ? | mi cv | adjunto | que incluye | como empezamos | quedo atento | quedo a la espera |
geinteresseerd | interessant | klinkt goed | klinkt leuk | klinkt interessant | klinkt mooi | klinkt super |
leuk | graag | heel graag | met plezier | nieuwsgierig | benieuwd | sta open | open voor | stuur me | stuur
mij | stuur maar | kun je … sturen | kunt u … sturen | meer vertellen | meer weten | meer informatie | meer
info | meer over | meer details | vacature | functieomschrijving | functieprofiel | vertel | laten we |
zullen we | kunnen we | bellen | bel me | bel mij | gesprek | kennismaken | kennismaking | afspraak |
afspreken | wanneer | wanneer schikt | wanneer kun | wanneer past | schikt | past mij | komt goed uit | kan
ik wel | kan ik | lukt mij | prima | akkoord | goed , | goed . | is goed | ja graag | zeker | natuurlijk |
salaris | tarief | uurtarief | thuiswerken | thuis werken | hybride | standplaats | welk team | het team |
welke technologie* | wat kost | hoeveel | prijs | mijn cv | bijgevoegd | in de bijlage | we spreken elkaar |
interessad* | interessante | me interessa | interessa-me | parece interessante | parece bom | parece otimo |
soa bem | gostaria de | adoraria | com prazer | com todo o gosto | com gosto | curioso | curiosa | aberto a
| aberta a | disponivel para | pode enviar | pode me enviar | pode-me enviar | podes enviar | poderia enviar
| envie-me | me envie | envia-me | mande-me | me manda | me mande | mais informacoes | mais informacao |
mais detalhes | os detalhes | saber mais | contar-me mais | contar mais | conte-me | me conte | me conta |
descricao da vaga | vamos falar | vamos conversar | vamos marcar | podemos falar | podemos conversar |
podemos marcar | podemos agendar | uma chamada | uma ligacao | reuniao | uma conversa | quando podemos |
quando pode | quando poderiamos | quando te da | fica bem | esta otimo | esta bem para | funciona para mim |
para mim esta | tenho disponibilidade | estou disponivel | a minha disponibilidade | combinado | com certeza
| sem duvida | sim , | sim . | sim ! | bora | pode ser | topo | remuneracao | teletrabalho | localizacao |
que equipa | a equipa | a equipe | o time | quais tecnologias | quanto custa | preco | orcamento ? | meu
curriculo | meu cv | em anexo | segue em anexo | falamos | interessat* | interessa | mi interessa | mi
interessa molto | mi piacerebbe | mi farebbe piacere | volentieri | con piacere | molto volentieri | aperto
a | aperta a | mi mandi | mi mandi pure | mandami | mi invii | inviami | mi puo inviare | puo inviarmi | puo
mandarmi | potrebbe inviarmi | mi giri | maggiori informazioni | maggiori dettagli | piu informazioni | piu
dettagli | i dettagli | saperne di piu | qualcosa di piu | dirmi di piu | dirmi qualcosa | mi racconti |
raccontami | mi dica | parliamone | parliamo | sentiamoci | ci sentiamo | ci vediamo | possiamo sentirci |
possiamo parlare | possiamo vederci | possiamo fissare | fissiamo | fissare una | una chiamata | una call |
un colloquio | un incontro | appuntamento | quando possiamo | quando potremmo | quando e disponibile |
quando le | quando ti | va bene | va benissimo | mi va bene | per me va | sono disponibile | la mia
disponibilita | d'accordo | perfetto | certo | certamente | certo che si | assolutamente si | retribuzione |
stipendio | ral | compenso | tariffa | smart working | da remoto | in remoto | ibrido | sede di lavoro |
quale team | sul team | il team | tecnologie | quanto costa | prezzo | prezzi | il mio cv | il mio
curriculum | in allegato | up for | i'm into | be into | could be into | do it | lets do | good idea | great
idea | could work | could be something | be something for | would be great | would be good | i'd be happy |
i would be happy | been thinking about | thinking about a change | minutes on | minutes to | some time next
| still open | still available | role open | position open | the role | the position | the job | be
delighted | delighted to | please do | please call | any evening | any time works | anytime works | see a
proposal | see a demo | see it | would like to see | fine by me | fine with me | happy to take | take a look
| let me talk to | talk to my | worth a | worth exploring | worth a chat | love it | bring it on | on board
| whats the | benefits | package | start date | notice period | which city | which country | where exactly |
who is the client | which company | lust auf | hatte lust | konnte tatsachlich | konnte was fur | konnte
etwas fur | was fur mich sein | etwas fur mich sein | uber einen wechsel | wechsel nach | minuten | noch
offen | noch frei | noch zu haben | noch verfugbar | jeder abend | ja bitte | bitte mehr | meinetwegen | von
mir aus | geht klar | gute idee | ware toll | wurde mich freuen | wurde mich interessieren | angebot sehen |
ein angebot | hatten gern | die stelle | der stelle | die position | zum profil | das profil | arbeitsort |
gehaltsrahmen | konditionen | rahmenbedingungen | remote ginge | startdatum | welche firma | welches
unternehmen | wer ist der kunde | gerne mehr | reizt mich | reizvoll | pourrait me plaire | pourrait
m'interesser | pourrait nous interesser | me plairait | me tente | tente* | partant | partante | pret a |
prete a | reflechis justement | minutes vendredi | auriez-vous | avez-vous | toujours ouvert | toujours
disponible | toujours d'actualite | encore ouvert | encore disponible | ca marche | faisons ca | faisons-le
| banco | allons-y | volontiers pour | tous les soirs | aimerions | aimerais | j'aimerais | le poste | du
poste | la fiche | fourchette | ou est base | quelle ville | quelle entreprise | quel client | conditions |
bonne idee | ce serait super | envie d'en savoir | me apetece | podria ser algo | podria interesarme |
podria encajar | pasar la descripcion | la descripcion | rango salarial | pensando en un cambio | minutos |
sigue abierta | sigue abierto | sigue disponible | sigue en pie | aun disponible | hagamoslo | me parece
bien | me parece perfecto | me vendria bien | cuando quieras | cuando quiera | dale | me gustaria | nos
gustaria | ver una propuesta | una propuesta | el puesto | la vacante | la posicion | condiciones | donde
esta el | que empresa | quien es el cliente | buena idea | seria genial | estaria bien | cualquier tarde |
tendrias un hueco | un hueco | heb wel zin | wel zin in | zin in | zou wel wat | wel wat voor mij | iets
voor mij kunnen | het profiel | salarisindicatie | denk … na over | nog vrij | nog open | nog beschikbaar |
doen we | vind ik goed | kan elke | elke avond | lijkt me | lijkt mij | willen graag | wil graag | ik hoor
graag | hoor graag | de functie | de rol | de baan | arbeidsvoorwaarden | welk bedrijf | waar is de | goed
idee | zou mooi zijn | een voorstel | kom maar op | spreekt me aan | spreekt mij aan | ate pode ser | pode
ser algo | poderia interessar-me | consegue mandar | consegue enviar | a descricao | faixa salarial | pensar
em mudar | ainda esta aberta | ainda esta disponivel | ainda esta em aberto | vamos a isso | por mim esta |
por mim | qualquer noite | gostariamos | gostava de | gostavamos | ver uma proposta | uma proposta | a vaga
| da vaga | a posicao | o cargo | condicoes | onde fica | qual empresa | quem e o cliente | boa ideia |
seria otimo | seria bom | faz sentido falar | mi va di | potrebbe fare per me | potrebbe interessarmi | puoi
mandarmi | puoi inviarmi | la descrizione | fascia retributiva | pensando a un cambiamento | minuti | ancora
aperta | ancora disponibile | facciamolo | per me va bene | ogni sera | vorremmo vedere | vorrei sapere |
vorrei capire | una proposta | la posizione | il ruolo | della posizione | condizioni | dove si trova |
quale azienda | chi e il cliente | buona idea | sarebbe bello | sarebbe ottimo | da remoto si | perfect
timing | what the package | trifft sich gut | das paket | tombe bien | que oportuno | el paquete | querria
saber | querria conocer | komt mooi uit | wil ik weten | het pakket | a calhar | o pacote | queria saber |
capita a proposito | il pacchetto | konnen wir reden | quand pouvons-nous | kunnen we praten | before i
commit | hear what | savoir plus | d'en savoir plus | ravi de | ravie de | ravi d'en | ravie d'en |
how does it work | how does this work | how does the | how do you | how would | what does the | what would |
can you explain | could you explain | do you support | do you offer | do you have | do you also | wie
funktioniert | was wurde | was kostet das | wie geht es weiter | mehr zu erfahren | gerne erfahren |
zuruckrufen | rufen sie mich | gefallt mir | gefallt uns | schick mal | unterlagen | preisliste | angebot
schicken | comment ca marche | comment cela fonctionne | proposez-vous | faites-vous | est-ce que vous | en
savoir davantage | les tarifs | le catalogue | como funciona | operan en | ofrecen | teneis | tienen
disponibilidad | tienen casos | casos de exito | cuales son las | cuales son los | cual es el | que
requisitos | platiquemos | me late | te late | queremos | ahora si aplica | nos interesa | nos encaja |
hueco | hoe werkt | bieden jullie | hebben jullie | doen jullie ook | wat zijn de | gostei da ideia | gostei
| explicar melhor | voces atendem | voces tem | voces fazem | qual e o prazo | qual e a | quais sao | me
liga | manda mais | come funziona | potete inviarmi | potete mandarmi | potete dirmi | mi mandate | vorrei
ordinare | il listino | avete disponibilita | quali sono | quali sarebbero | saremmo interessati |
discount | rabatt | remise | descuento | korting | desconto | sconto | does your | do your | kostet | gibt
es | integration | case study | whitepaper | brochure | un essai | una prueba | experimentar | una prova |
proefperiode |
when works | what works | what … cost | what kind of | makes yours | differ
""")

# A person who is away and says nothing else; looked for last.
AWAY = phrases("""
on holiday | on vacation | on leave | parental leave | maternity leave | paternity leave | out of office |
out of the office | out next week | out this week | out until | i'm away | i am away | travelling |
traveling | at a conference | on a trip | im urlaub | in elternzeit | nicht im buro | unterwegs | auf
dienstreise | in mutterschutz | verreist | en vacances | en conges | en conge | en deplacement | absent* |
de vacaciones | estoy fuera | estare fuera | de baja | de viaje | de permiso | op vakantie | met vakantie |
met verlof | afwezig | op reis | de ferias | estou fora | de licenca | em viagem | in ferie | in vacanza |
fuori ufficio | in congedo | in viaggio | in trasferta | call you next week | melde mich nachste woche |
vous rappelle | te llamo la semana | bel je volgende week | ligo para si | la richiamo | surgery | parental
| elternzeit | mutterschutz | a mon retour | after my holiday | after my leave | al mio rientro | als ik
terug ben | cuando regrese | cuando vuelva | na mijn verlof | nach meiner ruckkehr | once i am back | once
i'm back | quand je rentre | quando regressar | quando torno | quando voltar | wenn ich zuruck | when i am
back | when i get back | when i return | when i'm back | beach | strand | am strand | op het strand | plage
| a la plage | la playa | en la playa | praia | na praia | al mare
""")

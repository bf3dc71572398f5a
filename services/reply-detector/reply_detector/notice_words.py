"""The words of delivery notices: senders, subjects, formulas, and where the returned message begins.

The patterns have English and the six languages in which notices vary most; the tables have the rest, and are
folded like the text that they are looked for in.
"""

import re

from reply_detector.fresh_text import fold
from reply_detector.vocabulary import phrases

DAEMON = re.compile(
    r"mailer-?daemon|mdaemon|mail[ .]?delivery[ .]?(?:sub)?[ .-]?system|delivery[ .]subsystem"
    r"|mail deliver system|maildelivery|bounce[sd]?@|ndr@|delivery[- ]?(?:failure|status)",
    re.I,
)
MASTER = re.compile(
    r"post[-_]?master|mail ?(?:system )?admin|system ?admin|mail ?gateway|smtp[_ ]?(?:mail|gateway"
    r"|server)|imss@|mail ?system|jetmail|microsoftexchange|mail ?server",
    re.I,
)
_SUBJECT_PATTERN = re.compile(
    r"\**\s?(?:spam\s?\*+\s?)?(?:\[[\w -]{1,20}\] ?)?(?:notice: ?)?(?:un(?:delivered|deliverable"
    r"|able to deliver|zustellbar|successful delivery)|returned (?:mail|e-?mail|message|to sender)"
    r"|return(?:ed|ing) mail|non[- ]?(?:delivery|deliverable|remis|remise|distribue)"
    r"|delivery (?:status|failure|failed|report|problem|error|notification|has failed|has been"
    r"|incomplete|unsuccessful|delayed|is delayed)|(?:permanent|temporary"
    r"|transient) (?:delivery )?failure|(?:permanent|temporary|transient) delivery|mail (?:delivery"
    r"|system error|could not|failed|failure|error|not delivered|returned|status|rejected)"
    r"|e-?mail (?:delivery|could not|not delivered|failure|rejected|returned)|message (?:delivery"
    r"|could not|not delivered|status|undeliverable|delayed|rejected|you sent blocked)"
    r"|failure (?:notice|delivery|to deliver)|failed to deliver|nondelivery|ndn:|ndr:|failed mail"
    r"|failed delivery|failed:|could not (?:deliver|be delivered|send message)|cannot deliver"
    r"|can't deliver|processing error|warning: (?:message|could not|.{1,60}user unknown|mail)"
    r"|delivery$|delayed (?:mail|delivery)|automatically rejected|rejected (?:mail|message)"
    r"|(?:unknown|invalid) (?:user|recipient)|(?:user|recipient) unknown|address not found"
    r"|message blocked|bounced? (?:mail|e-?mail|message)|(?:problem|error) (?:delivering|sending)"
    r"|report of undelivered|sorry,? your (?:e-?mail|message|mail)|your (?:e-?mail|message"
    r"|mail) .{0,80}(?:not (?:be )?(?:been )?deliver|undeliver|reject|bounced|returned)|unzustellbar"
    r"|nicht zustellbar|nachricht unzustellbar|mail nicht|zustellung|zustellfehler"
    r"|fehler bei der zustellung|ruckmeldung|uebermittlung|ubermittlung (?:verzogert|fehlgeschlagen)"
    r"|ihre (?:e-?mail|nachricht) konnte|verzogerte|non remis|echec de|message non"
    r"|notification d'echec|remise (?:differee|retardee)|retard de|avis de non|no se (?:puede|pudo)"
    r"|no entregad|mensaje no|error de entrega|entrega (?:retrasada|fallida|atrasada)|fallo (?:en"
    r"|de) la entrega|correo no|notificacion del estado de entrega|(?:mensaje )?devuelto|onbestelba"
    r"|niet bezorgd|niet afgeleverd|mislukt|bezorging|vertraagde|falha|nao entreg|mensagem nao"
    r"|nao (?:e|foi) possivel|mensagem devolvid|devolvid|devolucao|erro na entrega|mancata consegna"
    r"|impossibile recapitare|messaggio non|non recapitabile|mancato recapito|avviso di mancata"
    r"|errore di consegna|notifica (?:di|dello) (?:mancat|stato)|consegna|recapito ritardato)",
)
_SUBJECTS = tuple(
    map(
        fold,
        phrases("""
kan inte levereras | går inte att leverera | det gick inte att leverera | olevererbart |
leveransen misslyckades | leverans försenad | kan ikke leveres | ikke leveret | ikke levert |
levering mislykkedes | levering mislyktes | levering forsinket | toimittamatta | ei voida toimittaa |
ei voi toimittaa | ei toimitettavissa | viestiä ei voitu toimittaa | toimitus epäonnistui |
nedoručitelné | nedoručeno | nelze doručit | zpráva nebyla doručena | nedoručiteľné | niedostarczalne |
niedostarczona | nie dostarczono | nie można dostarczyć | zwrot nieodebranej |
wiadomość niedostarczona | błąd dostarcz | kézbesíthetetlen | nem kézbesíthető | nelivrabil |
nu se poate livra | teslim edilemedi | teslim edilemeyen | iletilemedi | gönderilemedi |
δεν είναι δυνατή η παράδοση | μη παραδοτέο | не доставлено | недоставлен | сообщение не доставлено |
ваше сообщение не доставлено | письмо не доставлено | не удается доставить | не удалось доставить |
невозможно доставить | ошибка доставки | неможливо доставити | доставка отложена |
доставка задерживается | 配信不能 | 配信不可 | 配信できません | メッセージを配信できません |
メールを配信できません | メールエラー | メール配信エラー | 配信エラー | 送信エラー | エラー通知 |
未配信 | 宛先不明 | 配達できません | 送信できませんでした | 配信が遅延 | 配信の遅延 | 系统退信 | 退信 |
邮件退回 | 邮件被退回 | 未送达 | 未传递 | 无法送达 | 无法投递 | 无法传递 | 邮件投递失败 | 传递失败 |
传递延迟 | 無法傳遞 | 無法投遞 | 無法寄達 | 未能傳遞 | 傳遞失敗 | 배달되지 않음 | 배달할 수 없음 |
배달 실패 | [발송실패 | 발송실패 | 발송 실패 | 메일 발송 실패 | [전송실패 | 전송실패 | 전송 실패 |
메일 전송 실패 | 반송 | [반송
"""),
    )
)
_SUBJECT_ANYWHERE = re.compile(
    r"could not be delivered|not (?:been )?delivered|delivery failure|undeliverable|: non remis"
    r"|delivery (?:has )?failed|退信",
    re.I,
)
_FORMULA_PATTERN = re.compile(
    r"could ?n[o']t be (?:delivered|sent)|could not (?:be )?deliver|cannot be delivered"
    r"|can ?not deliver|(?:was|were) not (?:delivered|relayed|sent)|not been delivered|been delayed"
    r"|(?:message|delivery) is delayed|was undeliverable|were undeliverable|undeliverable to"
    r"|undeliverable address|unable to (?:deliver|send|relay|route)|wasn't able to deliver"
    r"|not able to deliver|couldn't be delivered|wasn't delivered|delivery (?:has |have )?failed"
    r"|delivery to (?:the|this|these|that)|did not reach|did not receive|has been returned"
    r"|returned to (?:sender|you)|(?:following|these) (?:address|recipient)|(?:failed"
    r"|failing) (?:address|recipient)|fatal errors|delivery (?:errors|problems)|failure notice"
    r"|delivery (?:failure|status) notification|no valid recipients|invalid final delivery"
    r"|delivery failed|message not delivered|not delivered to|automatically rejected|was rejected"
    r"|blocked|user unknown|unknown user|no such user|error message below|failure reasons"
    r"|mail delivery software|the mail system at|qmail-send program|deliver program"
    r"|delivery of (?:email|your|this)|intended recipient|error-for:|did not exactly match"
    r"|encountered delivery problems|mailbox (?:is full|unavailable|not found)|address (?:not found"
    r"|couldn't be found)|wasn't found|problem delivering|delivery incomplete|message blocked"
    r"|has not been delivered|rejected your message|konnte nicht zugestellt|nicht zugestellt werden"
    r"|nicht zustellbar|unzustellbar|noch nicht (?:ubermittelt|zugestellt)|nicht erreicht"
    r"|n'a pas pu etre|n'a pu etre|n'ont pas pu|non remis|pas ete (?:remis|distribue|delivre)"
    r"|n'est pas parvenu|no (?:se )?(?:pudo|ha podido|puede|se ha podido) (?:ser )?(?:entreg|enviar)"
    r"|no pudo ser entregado|no se entreg|kon niet worden (?:bezorgd|afgeleverd)"
    r"|niet (?:worden )?(?:bezorgd|afgeleverd)|bezorging .{0,60}mislukt|nao (?:pode|foi possivel"
    r"|foi entregue|pode ser)|nao foi entregue|falha na entrega|non (?:e stato|e stata"
    r"|puo essere) (?:possibile )?(?:recapit|consegn)|impossibile (?:recapitare|consegnare)"
    r"|mancato recapito|non (?:e|e stato) (?:recapit|consegn)",
)
_FORMULAS = tuple(
    map(
        fold,
        phrases("""
gick inte att leverera | kunde inte levereras | kan inte levereras | levering mislykkedes |
kunne ikke leveres | levering mislyktes | toimittaminen | ei voitu toimittaa | ei voida toimittaa |
nebyla doručena | se nezdařilo | nepodařilo se doručit | nelze doručit | nie została dostarczona |
nie można dostarczyć | nie dostarczono | nie mogła zostać dostarczona | nem kézbesíthető |
nem sikerült | nu a putut fi livrat | teslim edilemedi | iletilemedi | не может быть доставлено |
не доставлено | не было доставлено | не удалось доставить | не удается доставить |
не вдалося доставити | не знайдено | δεν ήταν δυνατή | 送信できませんでした | 配信できません |
配信に失敗 | 送信に失敗 | 届けられません | メールボックスが一杯 | 没有成功投递 | 无法投递 | 被退回 |
退信原因 | 无法送达 | 投递失败 | 未能送达 | 無法傳遞 | 無法投遞 | 전송되지 못 | 배달하지 못 |
발송하지 못 | 전달하지 못 | 배달되지
"""),
    )
)
# Lines that machines write and people run into a sentence: what a mail server said, and what it was told. Not
# with `>` before them: a person quotes.
SERVER_SAID = re.compile(
    r"^[ \t#*\[]{0,12}(?:(?:<<<|received >>>|remote (?:server|host) (?:said|replied|returned):"
    r"|smtp error|error:?)[ \t]{1,4})?#?[45][0-5]\d[ -](?:[ \t-]{0,3}#?[45]\.\d{1,3}\.\d{1,3}"
    r"|[a-z<\"'(])",
    re.I | re.M,
)
COMMAND_SENT = re.compile(
    r"^[ \t]{0,12}(?:>>> |sent <<< |-+> |\w{1,20} sent: )?rcpt to: ?<?[^\s@]{1,128}@", re.I | re.M
)
RETURN_MARK = re.compile(
    r"[\s>|*#=_+.-]{0,60}(?:(?:this is a copy of|here is a copy|a copy of|below (?:this"
    r"|the next) line is|below is a copy of|included is a copy|copy of (?:your|the)) .{0,60}(?:message|mail"
    r"|header|line)|(?:the )?(?:headers?|first \d{1,4} lines|body) (?:and .{1,30} )?of (?:the"
    r"|your) .{0,12}(?:message|mail)|(?:your )?(?:original|returned|unsent|undelivered|source"
    r"|old) (?:message|mail|text)\b(?! (?:was|could|has|is|to|did|not|id|information|att))"
    r"|message (?:text|headers?) (?:follows?)|the following mail|start of returned"
    r"|your message reads|--- (?:mensaje|message|mail|original|header)"
    r"|original message (?:follows|headers?)|returned mail follows|message body"
    r"|header of the source|attached is (?:a copy of )?(?:the|your)|forwarded message"
    r"|urspr.ngliche (?:nachricht|mail)|message d.origine|mensaje original|messaggio originale"
    r"|mensagem original|oorspronkelijk bericht)",
    re.I,
)
LIST_BEGINS = re.compile(
    r"(?:following|these) (?:e-?mail )?(?:recipient|address|user|person|mailbox|group)"
    r"|did not receive|failed (?:address|recipient)|(?:folgende\w? (?:empf.nger|adress"
    r"|person))|diese empf.nger|destinataires? suivant|adresses? suivante|siguientes? (?:destinatario|direcci"
    r"|persona)|seguent[ei] (?:destinatar|indirizz)|seguintes? (?:destinat|endere)|estes destinat"
    r"|(?:volgende|deze) (?:geadresseerde|ontvanger|adres)",
    re.I,
)


def names_failure(core: str) -> bool:
    """Whether a folded subject, without `Re:`, begins like a notice's."""
    return bool(_SUBJECT_PATTERN.match(core)) or core.startswith(_SUBJECTS)


def mentions_failure(subject: str) -> bool:
    """Whether a subject speaks of a failure anywhere, which people's do, too."""
    return bool(_SUBJECT_ANYWHERE.search(subject))


def says_failure(folded: str) -> bool:
    """Whether a folded text says that something was not delivered, or not yet."""
    return bool(_FORMULA_PATTERN.search(folded)) or any(phrase in folded for phrase in _FORMULAS)

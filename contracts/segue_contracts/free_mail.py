"""Domains where anybody can have an address, so that two of them say nothing about one company."""

_DOMAINS = """
126.com 139.com 163.com 189.cn 21cn.com aim.com alice.it aliyun.com aol.co.uk aol.com aol.de aol.fr arcor.de
att.net bell.net bellsouth.net bigpond.com bigpond.net.au bk.ru bluewin.ch blueyonder.co.uk bol.com.br
btinternet.com btopenworld.com centrum.cz charter.net comcast.net cox.net cs.com daum.net docomo.ne.jp
duck.com earthlink.net email.com email.cz ezweb.ne.jp fastmail.com fastmail.fm foxmail.com free.fr
freemail.hu freenet.de frontier.com frontiernet.net globo.com gmail.com gmx.at gmx.ch gmx.com gmx.de gmx.fr
gmx.net googlemail.com hanmail.net hey.com hotmail.be hotmail.ca hotmail.ch hotmail.co.jp hotmail.co.uk
hotmail.com hotmail.com.ar hotmail.com.br hotmail.de hotmail.es hotmail.fr hotmail.it hotmail.nl hotmail.se
hushmail.com icloud.com ig.com.br inbox.com inbox.lv inbox.ru interia.pl internode.on.net juno.com
kpnmail.nl laposte.net libero.it list.ru live.be live.ca live.cn live.co.uk live.com live.com.au live.com.mx
live.de live.dk live.fr live.it live.nl live.no live.se lycos.com mac.com mail.com mail.de mail.ee mail.ru
mailbox.org mailfence.com me.com msn.com nate.com naver.com neuf.fr nifty.com ntlworld.com o2.pl onet.eu
onet.pl online.de online.no op.pl optonline.net optusnet.com.au orange.fr outlook.at outlook.be
outlook.co.id outlook.com outlook.com.au outlook.com.br outlook.de outlook.dk outlook.es outlook.fr
outlook.ie outlook.in outlook.it outlook.jp outlook.kr outlook.pt pm.me poczta.onet.pl posteo.de posteo.net
prodigy.net.mx proton.me protonmail.ch protonmail.com qq.com rambler.ru rediffmail.com riseup.net
roadrunner.com rocketmail.com rogers.com runbox.com sapo.pt sbcglobal.net seznam.cz sfr.fr shaw.ca sina.cn
sina.com sky.com skynet.be softbank.ne.jp sohu.com startmail.com sympatico.ca t-online.de talktalk.net
telenet.be telus.net terra.com.br tin.it tiscali.co.uk tiscali.it tom.com tuta.com tuta.io tutamail.com
tutanota.com tutanota.de ukr.net uol.com.br verizon.net videotron.ca virgilio.it virginmedia.com vodafone.it
voila.fr wanadoo.fr web.de windowslive.com wp.pl xs4all.nl xtra.co.nz ya.ru yahoo.ca yahoo.co.id yahoo.co.in
yahoo.co.jp yahoo.co.kr yahoo.co.nz yahoo.co.uk yahoo.com yahoo.com.ar yahoo.com.au yahoo.com.br
yahoo.com.cn yahoo.com.hk yahoo.com.mx yahoo.com.ph yahoo.com.sg yahoo.com.tr yahoo.com.tw yahoo.com.vn
yahoo.de yahoo.es yahoo.fr yahoo.gr yahoo.ie yahoo.in yahoo.it yahoo.nl yahoo.no yahoo.pl yahoo.ro yahoo.se
yandex.com yandex.ru yeah.net ymail.com ziggo.nl zoho.com zohomail.com
"""

FREE_MAIL_DOMAINS = frozenset(_DOMAINS.split())


def is_free_mail(domain: str) -> bool:
    """Whether the domain (any case, no `@`) belongs to a provider of personal addresses."""
    return domain.lower().rstrip(".") in FREE_MAIL_DOMAINS

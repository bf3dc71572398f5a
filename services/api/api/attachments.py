"""The files that mails take along: what may be uploaded, and what may be named by a stage."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from api.problems import FieldError
from chassis.store import Document
from chassis.templates import header_problem
from segue_contracts.sequence import SequenceDocument

MAX_FILE_BYTES: Final = 10 * 1024 * 1024  # a file and its facts are one document, of at most 16 MiB
MAX_MAIL_BYTES: Final = 18 * 1024 * 1024  # 24 MiB in base64, what most servers just take
MAX_NAME_BYTES: Final = 200
_ZIP: Final = b"PK\x03\x04"
_OFFICE: Final = "application/vnd.openxmlformats-officedocument"
_OPEN: Final = "application/vnd.oasis.opendocument"


@dataclass(frozen=True, slots=True)
class Type:
    """A kind of file that mail servers let through: how its name ends, and how it begins."""

    endings: tuple[str, ...]
    begins: bytes = b""


TYPES: Final[Mapping[str, Type]] = {
    "application/pdf": Type(("pdf",), b"%PDF-"),
    "image/png": Type(("png",), b"\x89PNG\r\n\x1a\n"),
    "image/jpeg": Type(("jpg", "jpeg"), b"\xff\xd8\xff"),
    "image/gif": Type(("gif",), b"GIF8"),
    "image/webp": Type(("webp",), b"RIFF"),
    "text/plain": Type(("txt",)),
    "text/csv": Type(("csv",)),
    "text/calendar": Type(("ics",), b"BEGIN:VCALENDAR"),
    "text/vcard": Type(("vcf",), b"BEGIN:VCARD"),
    f"{_OFFICE}.wordprocessingml.document": Type(("docx",), _ZIP),
    f"{_OFFICE}.spreadsheetml.sheet": Type(("xlsx",), _ZIP),
    f"{_OFFICE}.presentationml.presentation": Type(("pptx",), _ZIP),
    f"{_OPEN}.text": Type(("odt",), _ZIP),
    f"{_OPEN}.spreadsheet": Type(("ods",), _ZIP),
    f"{_OPEN}.presentation": Type(("odp",), _ZIP),
}
"""Nothing that runs, and nothing in which something that runs is packed: that is what filters look for."""
_MACROS: Final = (b"vbaProject", b"Basic/Standard")
# Bidirectional controls can make a name end otherwise than it looks.
_UNFIT_IN_NAME = re.compile('["/\\\\<>:|?*\u200e\u200f\u202a-\u202e\u2066-\u2069]')


def check_filename(value: str) -> str:
    """A name that every system can keep, unchanged, else ValueError."""
    if problem := header_problem(value):
        raise ValueError(problem)
    if _UNFIT_IN_NAME.search(value) or value != value.strip(" .") or not value:
        raise ValueError('must be a plain name, such as Offer.pdf, without / \\ : * ? " < > |')
    if len(value.encode()) > MAX_NAME_BYTES:
        raise ValueError(f"is longer than {MAX_NAME_BYTES} bytes")
    return value


def file_problem(filename: str, content_type: str, content: bytes) -> str | None:
    """Why a file can't be taken, in words; `content_type` is one of `TYPES`."""
    wanted = TYPES[content_type]
    if not content:
        return "is empty"
    if filename.rpartition(".")[2].lower() not in wanted.endings or "." not in filename:
        return f"its name must end with .{' or .'.join(wanted.endings)}, as {content_type} does"
    if not content.startswith(wanted.begins):
        return f"is no {content_type}"
    if any(each in content for each in _MACROS):
        return "contains macros, which mail servers refuse"
    if content_type.startswith("text/") and not _is_text(content):
        return "is no text in UTF-8"
    return None


def _is_text(content: bytes) -> bool:
    try:
        return "\x00" not in content.decode()
    except UnicodeDecodeError:
        return False


def attachment_document(
    attachment_id: UUID, workspace: UUID, filename: str, content_type: str, content: bytes
) -> Document:
    """A file as it is stored; by whom and when is the caller's to add."""
    return {
        "_id": attachment_id,
        "workspace_id": workspace,
        "filename": filename,
        "content_type": content_type,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "used": False,
        "content": content,
    }


def ids_in(document: SequenceDocument) -> set[UUID]:
    """The attachments that a sequence names."""
    return {UUID(each) for stage in document.stages for each in stage.attachments or ()}


def naming_errors(document: SequenceDocument, sizes: Mapping[UUID, int]) -> Iterator[FieldError]:
    """What is wrong with the attachments that stages name."""
    for index, stage in enumerate(document.stages):
        total = 0
        for place, each in enumerate(stage.attachments or ()):
            size = sizes.get(UUID(each))
            total += size or 0
            if size is None:
                detail = "there is no such attachment: upload it with POST /v1/attachments"
                yield FieldError(pointer=f"/stages/{index}/attachments/{place}", detail=detail)
        if total > MAX_MAIL_BYTES:
            detail = f"are {total / 1024**2:.1f} MiB together; a mail takes {MAX_MAIL_BYTES // 1024**2} MiB"
            yield FieldError(pointer=f"/stages/{index}/attachments", detail=detail)

"""The ledger of identities: rows of source records, persons, links and decisions.

Nothing here names anybody: identifiers and keys are keyed hashes, demographics and
explanations are sealed under the data key `key_id`. A link is never changed, only closed;
what is valid has `valid_to_us` null.
"""

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from hie.db import Key, metadata

_HASH = String(26)
_ID = String(32)
_OPEN = text("valid_to_us IS NULL")

#: One source's record of someone. `local_hash` is the keyed hash of source, system and value;
#: `raw` the Patient as sent (sealed JSON), `norm` its comparable form. A record that the source
#: merged away is kept for the messages that still name it; one known by its identifier alone
#: has neither `raw` nor link. `held_hash` is the content an overlay last held back, so that the
#: same content is not asked about again; `keys_as` the kinds of blocking key it was filed under.
source_record = Table(
    "source_record",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("source_id", String(200), nullable=False),
    Column("authority_hash", _HASH),
    Column("local_hash", _HASH, unique=True),
    Column("version", Integer, nullable=False),
    Column("received_us", Key, nullable=False),
    Column("message_id", Key),
    Column("key_id", Key),
    Column("raw", LargeBinary),
    Column("norm", LargeBinary),
    Column("norm_version", Integer, nullable=False),
    Column("content_hash", _HASH, nullable=False),
    Column("is_active", Boolean, nullable=False),
    Column("replaced_by", _ID, index=True),
    Column("held_hash", _HASH),
    Column("keys_as", _HASH),
)

#: Messages that named a record its source had merged away, and were filed under the survivor:
#: what there is to look at when the merge is taken back.
redirected_message = Table(
    "redirected_message",
    metadata,
    Column("message_id", Key, primary_key=True, autoincrement=False),
    Column("record_id", _ID, primary_key=True, index=True),
    Column("survivor_id", _ID, nullable=False),
)

#: The human. Rows are never deleted and ids never reused; a merged one redirects.
#: `ended_by` is the decision that ended it, so that taking that back revives it.
person = Table(
    "person",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("created_us", Key, nullable=False),
    Column("status", String(8), nullable=False),
    Column("redirect_to", _ID, index=True),
    Column("ended_by", Key, index=True),
)

#: A record belongs to a person from `valid_from_us` to `valid_to_us`, by one decision until
#: another (`closed_by`).
identity_link = Table(
    "identity_link",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("record_id", _ID, nullable=False),
    Column("person_id", _ID, nullable=False),
    Column("valid_from_us", Key, nullable=False),
    Column("valid_to_us", Key),
    Column("decision_id", Key, nullable=False, index=True),
    Column("closed_by", Key, index=True),
    Column("restores", Key),  # the link that an undo opened again; null = it is a new one
    Column("state", String(12), nullable=False),
    Column("bits", Float),
    Column("grade", String(16)),
    Column("model_version", String(64)),
    Index("ix_identity_link_record", "record_id", "valid_from_us"),
    Index("ix_identity_link_person", "person_id", "valid_to_us"),
    # Whose the records under a blocking key are is read from this alone.
    Index(
        "ix_identity_link_current",
        "record_id",
        "person_id",
        "valid_to_us",  # null in every row; SQLite would else fetch the row to see that
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    ),
    # INVARIANT: a record never belongs to two persons.
    Index(
        "uq_identity_link_open_record",
        "record_id",
        unique=True,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    ),
)

#: Who decided what, why and by which model; `explanation` is sealed JSON.
identity_decision = Table(
    "identity_decision",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("at_us", Key, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("actor", String(255), nullable=False),
    Column("on_behalf_of", String(255)),
    Column("reason", Text, nullable=False),
    Column("message_id", Key),
    Column("model_version", String(64)),
    Column("key_id", Key),
    Column("explanation", LargeBinary),
    Column("inverse_of", Key, index=True),
    Column("batch_id", Key, index=True),
    Column("about", Key, index=True),  # the decision it looks at again, without changing it
    # How many were linked, doubtful and new, per source and time, is counted in this alone.
    Index("ix_identity_decision_rate", "at_us", "kind", "reason", "on_behalf_of"),
    # What humans decided is little among what the index did.
    Index(
        "ix_identity_decision_steward",
        "id",
        sqlite_where=text("actor LIKE 'steward:%'"),
        postgresql_where=text("actor LIKE 'steward:%'"),
    ),
)

#: Who was with whom when a decision joined or parted records that have consents: records of one
#: side were one person's. Until the consents are reviewed, none opens records of another side.
identity_side = Table(
    "identity_side",
    metadata,
    Column("decision_id", Key, primary_key=True, autoincrement=False),
    Column("record_id", _ID, primary_key=True, index=True),
    Column("side", Integer, nullable=False),
)

#: "These two records are two humans": survives re-scoring and merges. `record_a` < `record_b`.
negative_assertion = Table(
    "negative_assertion",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("record_a", _ID, nullable=False),
    Column("record_b", _ID, nullable=False, index=True),
    Column("valid_from_us", Key, nullable=False),
    Column("valid_to_us", Key),
    Column("decision_id", Key, nullable=False, index=True),
    Column("closed_by", Key, index=True),
    Index(
        "uq_negative_assertion_open_pair",
        "record_a",
        "record_b",
        unique=True,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    ),
)

#: Which records may be compared: 64-bit keyed hash, record.
block_key = Table(
    "block_key",
    metadata,
    Column("key", Key, primary_key=True, autoincrement=False),
    Column("record_id", _ID, primary_key=True),
    Index("ix_block_key_record", "record_id"),
    sqlite_with_rowid=False,
)

#: Keys that are full: how many records did not go under them any more.
block_stat = Table(
    "block_stat",
    metadata,
    Column("key", Key, primary_key=True, autoincrement=False),
    Column("spec", String(32), nullable=False),
    Column("refused", Integer, nullable=False),
    Column("first_us", Key, nullable=False),
)

#: Every identifier of a person that a record carries, by keyed hash: answers of PIX.
identifier_xref = Table(
    "identifier_xref",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("record_id", _ID, nullable=False, index=True),
    Column("source_id", String(200), nullable=False),
    Column("authority_hash", _HASH, nullable=False),
    Column("value_hash", _HASH, nullable=False, index=True),
    Column("type", String(16), nullable=False),
    Column("valid_from_us", Key, nullable=False),
    Column("valid_to_us", Key),
    Column("replaced_by", _ID),
    # Whether an authority is one the hub knows is asked newest first.
    Index("ix_identifier_xref_authority", "authority_hash", "id"),
)

#: Questions for stewards. `open_key` is the question while the task is open, null afterwards:
#: nothing is asked twice at a time. `detail` is sealed JSON.
review_task = Table(
    "review_task",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("kind", String(20), nullable=False),
    Column("state", String(8), nullable=False),
    Column("record_id", _ID, index=True),
    Column("person_id", _ID, nullable=False, index=True),
    Column("question", String(96), nullable=False),
    Column("open_key", String(96), unique=True),
    Column("priority", Integer, nullable=False),
    Column("assignee", String(255)),
    Column("opened_us", Key, nullable=False),
    Column("due_us", Key),
    Column("closed_us", Key),
    Column("opened_by", Key),
    Column("closed_by", Key, index=True),
    Column("key_id", Key, nullable=False),
    Column("detail", LargeBinary, nullable=False),
    Index("ix_review_task_queue", "state", "priority", "opened_us"),
)

#: What a task proposes or asks about, to find the tasks of a person.
review_candidate = Table(
    "review_candidate",
    metadata,
    Column("task_id", Key, primary_key=True, autoincrement=False),
    Column("person_id", _ID, primary_key=True),
    Index("ix_review_candidate_person", "person_id"),
)

#: Pairs of persons that may be one human, found by the nightly search and not asked about yet.
#: `person_a` < `person_b`.
duplicate_pair = Table(
    "duplicate_pair",
    metadata,
    Column("person_a", _ID, primary_key=True),
    Column("person_b", _ID, primary_key=True),
    Column("bits", Float, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("found_us", Key, nullable=False),
    Index("ix_duplicate_pair_bits", "bits"),
)

#: How far work that goes through the whole index has come: the last id done of this round.
index_job = Table(
    "index_job",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("mark", String(64), nullable=False),
    Column("place", String(64), nullable=False),
    Column("round", Integer, nullable=False),
    Column("began_us", Key, nullable=False),
    Column("touched_us", Key, nullable=False),
    Column("ended_us", Key),
    Column("seen", Key, nullable=False),
    Column("done", Key, nullable=False),
)

#: What stewards did with a task besides answering it; `note` is sealed like its `detail`.
review_event = Table(
    "review_event",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("task_id", Key, nullable=False, index=True),
    Column("at_us", Key, nullable=False),
    Column("action", String(8), nullable=False),
    Column("actor", String(255), nullable=False),
    Column("key_id", Key),
    Column("note", LargeBinary),
)

#: Outcomes of new records, counted by day (since 1970, UTC) and source, so that no figure is
#: read from a month of decisions.
identity_day = Table(
    "identity_day",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("source_id", String(200), primary_key=True),
    Column("outcome", String(8), primary_key=True),
    Column("number", Integer, nullable=False),
)

#: Changes of identity, to be told to others; ids only.
identity_event = Table(
    "identity_event",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("at_us", Key, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("decision_id", Key, nullable=False),
    Column("record_ids", Text, nullable=False),
    Column("person_ids", Text, nullable=False),
    Column("published_us", Key),
    Index("ix_identity_event_unpublished", "published_us", "id"),
)

#: Shares of values among the hub's own records, by keyed hash.
term_frequency = Table(
    "term_frequency",
    metadata,
    Column("field", String(16), primary_key=True),
    Column("value_hash", Key, primary_key=True, autoincrement=False),
    Column("share", Float, nullable=False),
)

#: Every model that has decided anything, or was judged to; its content never changes.
model = Table(
    "model",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("version", String(64), nullable=False),
    Column("content_hash", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("trained_on", Text),
    Column("metrics", Text),
    Column("active_from_us", Key),
    Column("active_to_us", Key),
    UniqueConstraint("version", "content_hash"),
)

#: Which model decides from when on, by whose decision: the newest row holds. A row without a
#: model says that the one of `config/mpi` decides, as it does where there is no row.
model_choice = Table(
    "model_choice",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("at_us", Key, nullable=False),
    Column("model_id", Key),
    Column("actor", String(255), nullable=False),
    Column("reason", Text, nullable=False),
    Column("findings", Text, nullable=False),
)

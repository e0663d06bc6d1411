"""Tables of the clinical data repository.

`resource` holds what every read filters on; the sealed bodies are in `resource_version`,
where a version made by a merge points to the body of an earlier one (`body_version`), so
that identity changes move no ciphertext. The `sp_*` tables are the search index: one row
per value (token, date: and person), clustered by resource, with a value-leading and (token,
date) a person-leading index. `sp_ref` rows of parameter 0 name what a resource refers to
outside every patient's compartment: what `$everything` adds; of parameter -1, what an earlier
version of a document had as its content. No foreign keys across owners; ids link.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from hie.db import Key, metadata

resource = Table(
    "resource",
    metadata,
    Column("pk", Key, primary_key=True, autoincrement=False),
    Column("type_id", SmallInteger, nullable=False),
    Column("id", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("body_version", Integer, nullable=False),
    Column("last_updated_us", BigInteger, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("person_id", String(32)),
    Column("source_record_id", String(64)),
    Column("source_id", String(200), nullable=False),
    Column("message_id", BigInteger, nullable=False),
    Column("label_mask", BigInteger, nullable=False),
    Column("clinical_lo_us", BigInteger),
    Column("clinical_hi_us", BigInteger),
    Column("content_hash", LargeBinary(16), nullable=False),
    # When what it says was so and when that was sent; null where nobody said.
    Column("event_us", BigInteger),
    Column("sent_us", BigInteger),
    Column("status_rank", SmallInteger),
    UniqueConstraint("type_id", "id"),
    Index("ix_resource_person", "person_id", "type_id", "pk"),
    Index("ix_resource_record", "source_record_id", "type_id"),
    Index("ix_resource_type", "type_id", "pk"),
    Index("ix_resource_updated", "type_id", "last_updated_us", "pk"),
    Index("ix_resource_source", "source_id", "type_id", "pk"),
)

resource_version = Table(
    "resource_version",
    metadata,
    Column("resource_pk", Key, nullable=False),
    Column("version", Integer, nullable=False),
    Column("body_version", Integer, nullable=False),
    Column("last_updated_us", BigInteger, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("source_id", String(200), nullable=False),
    Column("message_id", BigInteger, nullable=False),
    Column("label_mask", BigInteger, nullable=False),
    Column("key_id", BigInteger),
    Column("body", LargeBinary),
    # Its resource's, for the history of a type; of a version older than the column, filled in.
    Column("type_id", SmallInteger),
    # Of its labels those that its own content did not bring; null = nobody knows.
    Column("raised_mask", BigInteger),
    PrimaryKeyConstraint("resource_pk", "version"),
    Index("ix_resource_version_type", "type_id", "last_updated_us", "resource_pk", "version"),
)

#: The last statements about a resource that messages tell in parts, sealed; see `hie.flow.state`.
resource_log = Table(
    "resource_log",
    metadata,
    Column("type_id", SmallInteger, nullable=False),
    Column("id", String(64), nullable=False),
    Column("key_id", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    PrimaryKeyConstraint("type_id", "id"),
)

#: Other persons a resource is about; `ordinal` 1, 2, ... in the order of its references.
#: The first person is `resource.person_id`. Shown only if every person's rules permit.
compartment = Table(
    "compartment",
    metadata,
    Column("resource_pk", Key, nullable=False),
    Column("ordinal", SmallInteger, nullable=False),
    Column("person_id", String(32), nullable=False),
    Column("source_record_id", String(64), nullable=False),
    PrimaryKeyConstraint("resource_pk", "ordinal"),
    Index("ix_compartment_person", "person_id", "resource_pk"),
    Index("ix_compartment_record", "source_record_id"),
)

#: A source's own id or fullUrl of something it sent, to the id the hub gave it.
source_alias = Table(
    "source_alias",
    metadata,
    Column("source_id", String(200), nullable=False),
    Column("alias", String(64), nullable=False),  # keyed hash of what the source called it
    Column("type_id", SmallInteger, nullable=False),
    Column("id", String(64), nullable=False),
    PrimaryKeyConstraint("source_id", "alias"),
)

sp_token = Table(
    "sp_token",
    metadata,
    Column("resource_pk", Key, nullable=False),
    Column("param_id", SmallInteger, nullable=False),
    Column("system", String(200), nullable=False),
    Column("code", String(200), nullable=False),
    Column("type_id", SmallInteger, nullable=False),
    Column("person_id", String(32), nullable=False),  # "" = nobody's
    PrimaryKeyConstraint("resource_pk", "param_id", "system", "code", "person_id"),
    Index("ix_sp_token_value", "param_id", "code", "type_id", "resource_pk"),
    Index("ix_sp_token_person", "person_id", "param_id", "type_id", "code", "resource_pk"),
    sqlite_with_rowid=False,
)

sp_date = Table(
    "sp_date",
    metadata,
    Column("resource_pk", Key, nullable=False),
    Column("param_id", SmallInteger, nullable=False),
    Column("lo_us", BigInteger, nullable=False),
    Column("hi_us", BigInteger, nullable=False),
    Column("type_id", SmallInteger, nullable=False),
    Column("person_id", String(32), nullable=False),  # "" = nobody's
    PrimaryKeyConstraint("resource_pk", "param_id", "lo_us", "hi_us", "person_id"),
    Index("ix_sp_date_value", "param_id", "type_id", "lo_us", "resource_pk"),
    Index("ix_sp_date_person", "person_id", "param_id", "type_id", "lo_us", "resource_pk"),
    sqlite_with_rowid=False,
)
#: The latest first, as a search asks for them.
Index(
    "ix_sp_date_latest",
    sp_date.c.param_id,
    sp_date.c.type_id,
    sp_date.c.hi_us.desc(),
    sp_date.c.resource_pk,
)

sp_string = Table(
    "sp_string",
    metadata,
    Column("resource_pk", Key, nullable=False),
    Column("param_id", SmallInteger, nullable=False),
    Column("value", String(300), nullable=False),
    Column("type_id", SmallInteger, nullable=False),
    PrimaryKeyConstraint("resource_pk", "param_id", "value"),
    Index("ix_sp_string_value", "param_id", "type_id", "value", "resource_pk"),
    sqlite_with_rowid=False,
)

sp_number = Table(
    "sp_number",
    metadata,
    Column("resource_pk", Key, nullable=False),
    Column("param_id", SmallInteger, nullable=False),
    Column("lo", Numeric(30, 10, asdecimal=True), nullable=False),
    Column("hi", Numeric(30, 10, asdecimal=True), nullable=False),
    Column("type_id", SmallInteger, nullable=False),
    Index("ix_sp_number_resource", "resource_pk"),
    Index("ix_sp_number_value", "param_id", "type_id", "lo", "resource_pk"),
)

sp_quantity = Table(
    "sp_quantity",
    metadata,
    Column("resource_pk", Key, nullable=False),
    Column("param_id", SmallInteger, nullable=False),
    Column("system", String(200), nullable=False),
    Column("code", String(100), nullable=False),
    Column("lo", Numeric(30, 10, asdecimal=True), nullable=False),
    Column("hi", Numeric(30, 10, asdecimal=True), nullable=False),
    Column("type_id", SmallInteger, nullable=False),
    Index("ix_sp_quantity_resource", "resource_pk"),
    Index("ix_sp_quantity_value", "param_id", "type_id", "code", "lo", "resource_pk"),
)

sp_uri = Table(
    "sp_uri",
    metadata,
    Column("resource_pk", Key, nullable=False),
    Column("param_id", SmallInteger, nullable=False),
    Column("value", Text, nullable=False),
    Column("type_id", SmallInteger, nullable=False),
    Index("ix_sp_uri_resource", "resource_pk"),
    Index("ix_sp_uri_value", "param_id", "type_id", "value", "resource_pk"),
)

sp_ref = Table(
    "sp_ref",
    metadata,
    Column("resource_pk", Key, nullable=False),
    Column("param_id", SmallInteger, nullable=False),
    Column("target_type_id", SmallInteger, nullable=False),
    Column("target_id", String(64), nullable=False),
    Column("type_id", SmallInteger, nullable=False),
    PrimaryKeyConstraint("resource_pk", "param_id", "target_type_id", "target_id"),
    Index("ix_sp_ref_target", "target_id", "target_type_id", "param_id", "resource_pk"),
    sqlite_with_rowid=False,
)

#: Values of a composite parameter that stand in the same element: one whole row for each
#: combination, numbered from 0 by `group_no`. The first component is a token, in `system` and
#: `code`. The second is, by its type: a token (and the unit of a quantity), uri, reference (type
#: and id) or text in `value_system` and `value_code`; a number or quantity in `lo` and `hi`; a
#: date in `lo_us` and `hi_us`. A third is a number, in `lo2` and `hi2`.
sp_composite = Table(
    "sp_composite",
    metadata,
    Column("resource_pk", Key, nullable=False),
    Column("param_id", SmallInteger, nullable=False),
    Column("group_no", SmallInteger, nullable=False),
    Column("type_id", SmallInteger, nullable=False),
    Column("system", String(200), nullable=False),
    Column("code", String(200), nullable=False),
    Column("value_system", String(200), nullable=False),
    Column("value_code", String(300), nullable=False),
    Column("lo", Numeric(30, 10, asdecimal=True)),
    Column("hi", Numeric(30, 10, asdecimal=True)),
    Column("lo_us", BigInteger),
    Column("hi_us", BigInteger),
    Column("lo2", Numeric(30, 10, asdecimal=True)),
    Column("hi2", Numeric(30, 10, asdecimal=True)),
    PrimaryKeyConstraint("resource_pk", "param_id", "group_no"),
    Index("ix_sp_composite_value", "param_id", "code", "type_id", "value_code", "resource_pk"),
)

#: The texts that rows of `sp_token` name by keyed hash (`text`), by every hash they are asked for
#: with (`key`): see `hie.store.blind.text_keys`. A text has its rows once, however many resources
#: say it; two writers at once may write them twice, which changes no answer.
sp_text = Table(
    "sp_text",
    metadata,
    Column("key", String(26), nullable=False),
    Column("text", String(26), nullable=False),
    Index("ix_sp_text_key", "key", "text"),
)

#: Where a place is (Location `near`), as the unit vector from the middle of the earth.
sp_place = Table(
    "sp_place",
    metadata,
    Column("resource_pk", Key, nullable=False),
    Column("param_id", SmallInteger, nullable=False),
    Column("type_id", SmallInteger, nullable=False),
    Column("x", Double, nullable=False),
    Column("y", Double, nullable=False),
    Column("z", Double, nullable=False),
    PrimaryKeyConstraint("resource_pk", "param_id"),
    Index("ix_sp_place_value", "param_id", "type_id", "z"),
)

#: The table of search parameters that the rows that stand were written by: one row.
search_table = Table(
    "search_table",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("digest", String(32), nullable=False),
    # By type and parameter number, a digest of what makes its rows; deflated JSON.
    Column("definitions", LargeBinary, nullable=False),
)

#: How far bringing old rows up to a new table is: one row while it is under way. Resources up
#: to `done_pk` have been read again, of those up to `last_pk`.
search_rebuild = Table(
    "search_rebuild",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("digest", String(32), nullable=False),
    Column("types", Text, nullable=False),  # JSON: the numbers of the types concerned
    Column("done_pk", BigInteger, nullable=False),
    Column("last_pk", BigInteger, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("started_us", BigInteger, nullable=False),
)

#: The lists of labels that every row is labelled by: one row.
label_lists = Table(
    "label_lists",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("digest", String(32), nullable=False),
    Column("lists", LargeBinary, nullable=False),  # deflated JSON
    # Since when a process that goes by other lists has been writing, once it found out.
    Column("stale_since_us", BigInteger),
)

#: How far labelling by other lists is, see `hie.flow.relabel`: one row while it is under way.
label_job = Table(
    "label_job",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("digest", String(32), nullable=False),
    Column("lists", LargeBinary, nullable=False),
    Column("is_ahead", Boolean, nullable=False),  # these lists are not in force yet
    Column("stage", SmallInteger, nullable=False),
    Column("done_pk", BigInteger, nullable=False),
    Column("last_pk", BigInteger, nullable=False),
    Column("since_us", BigInteger, nullable=False),  # what was changed before is as it should be
    Column("current_mask", BigInteger, nullable=False),  # what a current version may gain
    Column("older_mask", BigInteger, nullable=False),  # what an older one may
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("raised", BigInteger, nullable=False),
    Column("lowered", BigInteger, nullable=False),
    Column("started_us", BigInteger, nullable=False),
)

#: What a source merged or moved, by the decision that keeps it: what to take back to undo it.
#: `retired` and `survivor` are source records where patients were merged.
source_move = Table(
    "source_move",
    metadata,
    Column("decision_id", Key, primary_key=True, autoincrement=False),
    Column("source_id", String(200), nullable=False),
    Column("message_id", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("survivor", String(64)),
    Column("retired", String(64)),
    Column("undone_us", BigInteger),
)

#: Resources a move changed: the versions before and after, and the record each was filed under.
source_move_item = Table(
    "source_move_item",
    metadata,
    Column("decision_id", Key, nullable=False),
    Column("type_id", SmallInteger, nullable=False),
    Column("id", String(64), nullable=False),
    Column("before_version", Integer, nullable=False),
    Column("after_version", Integer, nullable=False),
    Column("from_record", String(64), nullable=False),
    PrimaryKeyConstraint("decision_id", "type_id", "id"),
)

#: An account or visit that a source renumbered: what its old (or new) number's id leads to.
resource_redirect = Table(
    "resource_redirect",
    metadata,
    Column("type_id", SmallInteger, nullable=False),
    Column("id", String(64), nullable=False),
    Column("to_id", String(64), nullable=False),
    Column("decision_id", Key, nullable=False, index=True),
    PrimaryKeyConstraint("type_id", "id"),
)

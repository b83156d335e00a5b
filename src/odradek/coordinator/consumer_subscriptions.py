"""What members of a consumer group subscribe to, by name and by regular expression, and how that follows the
topics that come and go.

A regular expression is resolved at once when the first member brings it, and again at the group's next
heartbeat after topics came or went: then only their names are matched.

Source: ``GroupMetadataManager`` (``hasMemberSubscriptionChanged``, ``maybeUpdateRegularExpressions``). Kafka
resolves in the background and at most every ten seconds.
"""

from odradek.coordinator.consumer_changes import PutRegex, PutSubscription
from odradek.coordinator.consumer_draft import Draft
from odradek.coordinator.consumer_group import ConsumerGroup, ResolvedRegex
from odradek.coordinator.consumer_member import Subscription
from odradek.coordinator.consumer_target import next_epoch, refresh_topics
from odradek.coordinator.rebalances import Cause
from odradek.coordinator.regex import check_regex, matching


def subscribe(draft: Draft, member_id: str, said: Subscription, cause: Cause | None = None) -> bool:
    """Takes over what a member says of itself, moves the group's epoch if somebody subscribes to something
    else now; whether the member does. ``cause`` is why the member is here anew, if it is.

    Raises INVALID_REGULAR_EXPRESSION.
    """
    group = draft.group
    is_stale = group.needs_refresh
    if is_stale:
        refresh_regexes(draft)
    member = group.members.get(member_id)
    before = member.said if member is not None else Subscription()
    has_changed = False
    if member is None or said != before:
        names_before = group.topics_of(before) if member is not None else frozenset()
        if said.regex and said.regex not in group.regexes:
            check_regex(said.regex)
        draft.do(PutSubscription(member_id, said))
        if said.regex != before.regex:
            drop_regex(draft, before.regex)
            _resolve_new(draft, said.regex)
        has_changed = group.topics_of(said) != names_before
    if has_changed:
        draft.note(cause or Cause.CHANGED, member_id)
        next_epoch(draft)
    elif is_stale:
        refresh_topics(draft)
    return has_changed


def drop_regex(draft: Draft, regex: str) -> None:
    """Forgets a regular expression that nobody subscribes with any more."""
    if regex in draft.group.regexes and regex not in draft.group.regex_members:
        draft.do(PutRegex(regex, None))


def _resolve_new(draft: Draft, regex: str) -> None:
    group, topics = draft.group, draft.store.topics
    if not regex or regex in group.regexes:
        return
    group.regexes_seen = topics.by_name  # Those of the others, if there are any, were brought up to date.
    matched = matching(regex, topics.by_name)
    draft.do(PutRegex(regex, ResolvedRegex(matched, topics.version, draft.now.wall_ms)))


def refresh_regexes(draft: Draft) -> None:
    """Brings what the group's regular expressions match up to date with the topics that there are."""
    group, topics = draft.group, draft.store.topics
    seen, group.regexes_seen = group.regexes_seen, topics.by_name
    if seen is topics.by_name:
        return
    came = topics.by_name.keys() if seen is None else topics.by_name.keys() - seen.keys()
    for regex in list(group.regex_members):
        resolved = group.regexes.get(regex)
        kept = frozenset() if resolved is None or seen is None else resolved.topics & topics.by_name.keys()
        matched = kept | matching(regex, came)
        if resolved is None or matched != resolved.topics:
            draft.do(PutRegex(regex, ResolvedRegex(matched, topics.version, draft.now.wall_ms)))


def is_concerned(group: ConsumerGroup, changed: set[str]) -> bool:
    """Whether topics of these names, which came, went or changed, may matter to the group."""
    return bool(group.regex_members) or not changed.isdisjoint(group.topic_members)

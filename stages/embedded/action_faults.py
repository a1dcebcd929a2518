"""Faults put into the action dataset on purpose, at known counts, to test that cleaning finds just these.

KEPT are good clips in an unusual form, to be conformed; they are among the good ones. REJECTED come on top: the first of them
are faults of the videos, the others of what the metadata says. `planted_faults.json` lists, for each, the ids of its videos.
"""

from stages.embedded.action import ACTIONS, FORMS, SCENES, ActionScenes, Plan, draw, plan, rows_of, video
from stages.embedded.action_metadata import Row, new_id, row
from stages.embedded.action_video import INDEX_BYTES, mp4, sound
from stages.embedded.writing import FIRST_SERIAL, OF_EACH_FAULT

KEPT = FORMS
REJECTED = {
    "zero_bytes": 2,
    "truncated": 2,  # the index is there, and half of the frames
    "cut_off": 1,  # the second half is gone, with the index at its end
    "html": 1,  # an error page named .mp4
    "audio_only": 1,
    "one_frame": 1,
    "video_missing": 2,
    "video_not_listed": 2,
    "same_bytes_same_label": 1,  # one of two, the other being a good clip
    "several_actions": 4,
    "several_animals": 3,
    "other_action": 3,  # one of those that are not wanted
    "blank_row": 2,  # neither labels nor animals
}
PLANTED = KEPT | REJECTED
UNWANTED = ("Sensing", "Moving")


def faulty(seed: int) -> list[Plan]:
    """The clips that have to go."""
    plans = []
    for kind, (fault, count) in enumerate(REJECTED.items()):
        for number in range(count):
            action = ACTIONS[(kind + number) % len(ACTIONS)]
            species = SCENES[action].species
            given = "test" if number % 2 else "train"
            serial = FIRST_SERIAL + OF_EACH_FAULT * kind + number
            plans.append(Plan(serial, action, species[number % len(species)], given, fault, seed))
    return plans


def planted(plans: list[Plan]) -> dict[str, list[str]]:
    """{fault or form: ids of the videos that bear it}."""
    return {fault: [new_id(each.number, each.seed) for each in plans if each.form == fault] for fault in PLANTED}


def harmed(what: Plan, settings: ActionScenes) -> tuple[bytes | None, list[Row]]:
    """A clip's file (None: there is none) and its rows of the metadata, with their fault if any."""
    named = new_id(what.number, what.seed)
    rows = rows_of(what)
    match what.form:
        case "zero_bytes":
            return b"", rows
        case "truncated":
            content = video(what, settings, index_first=True)
            return content[: (INDEX_BYTES + len(content)) // 2], rows
        case "cut_off":
            content = video(what, settings)
            return content[: len(content) // 2], rows
        case "html":
            return b"<!DOCTYPE html>\n<html><body><h1>404 Not Found</h1></body></html>\n", rows
        case "audio_only":
            return sound(1.0), rows
        case "one_frame":
            return mp4(draw(what, settings).frames[:1]), rows
        case "video_missing":
            return None, rows
        case "video_not_listed":
            return video(what, settings), []
        case "same_bytes_same_label":
            original = plan(settings, what.seed)[-1]
            return video(original, settings), [rows_of(original)[0]._replace(video_id=named)]
        case "several_actions":
            other = ACTIONS[(ACTIONS.index(what.action) + 4) % len(ACTIONS)]
            seen = [(what.species, what.action), (what.species, other)]
            return video(what, settings), [row(named, what.given, seen)]
        case "several_animals":
            other = next(name for name in SCENES[what.action].species if name != what.species)
            return video(what, settings), [row(named, what.given, [(what.species, what.action), (other, what.action)])]
        case "other_action":
            action = UNWANTED[what.number % len(UNWANTED)]
            return video(what, settings), [row(named, what.given, [(what.species, action)])]
        case "blank_row":
            return video(what, settings), [Row(named, what.given, "", "")]
    return video(what, settings), rows

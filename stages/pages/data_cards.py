"""What a data set's card says, by data.html (after Gebru et al. 2021, Datasheets for Datasets). All of it was counted."""

from typing import Any

import pandas as pd

from stages.pages.gallery import Gallery
from stages.pages.page import in_turn, labels_of
from stages.pages.study import Study
from stages.people import ABSENT, OCCLUDED, VISIBLE
from stages.samples import EMPTY, UNUSED

FEW = 30  # samples below which a class is called rare
SHOWN, SAMPLES_MOST, TOP = 3, 60, 10  # samples shown of a class, and of all; locations and sizes named
LARGE_SHARE = 0.25  # of all pictures: a location above it is named among the limits


def of_data(study: Study, gallery: Gallery) -> dict[str, Any]:
    """What data.html shows."""
    pictures, labels = study.samples.pictures, labels_of(study)
    return {
        "samples": "clips" if gallery.has_clips else "pictures",
        "labels": labels,
        "about": about(study),
        "rows": row_counts(study.counts, "clips" if gallery.has_clips else "pictures"),
        "classes": of_classes(study),
        "locations": of_locations(pictures),
        "sequences": of_sequences(pictures),
        "sizes": of_sizes(pictures),
        "light": of_light(pictures),
        "times": of_times(pictures),
        "boxes": of_boxes(study),
        "species": of_species(pictures),
        "people": of_people(study),
        "videos": of_videos(study),
        "keypoints": of_keypoints(study),
        "leaks": leaks(study.splits),
        "duplicates": duplicates(study.counts),
        "warnings": [line for split in study.splits.values() for line in split.get("warnings", [])],
        "limits": limits(study, gallery.has_clips),
        "items": examples(study, gallery, labels),
        "per_class": SHOWN,
        "most": SAMPLES_MOST,
    }


def about(study: Study) -> list[tuple[str, str]]:
    """Whence it comes: what source.json says, name and text."""
    words = {"citation": "source", "licence": "licence", "adapter": "format", "root": "folder"}
    given = {key: study.source[key] for key in [*words, *sorted(study.source.keys() - words.keys())] if study.source.get(key)}
    return [(words.get(key, key.replace("_", " ")), str(value)) for key, value in given.items()]


def row_counts(counts: dict[str, Any], samples: str = "pictures") -> list[dict[str, Any]]:
    """How many of each kind came in, were kept and were rejected; only what was counted."""
    found = []
    for kind, own in counts.items():
        if isinstance(own, dict) and "in" in own:
            kept = own.get("kept", own["in"] - own.get("rejected", 0))
            words = samples if kind == "pictures" else kind.replace("_", " ")
            found.append({"kind": words, "in": own["in"], "kept": kept, "rejected": own.get("rejected", 0)})
    return found


def of_classes(study: Study) -> list[dict[str, Any]]:
    """Of each class: n, share, locations, sequences, share by night, the commonest first."""
    pictures = study.samples.pictures
    own = pictures.groupby("label").agg(
        n=("sample_id", "size"), locations=("location", "nunique"), sequences=("seq_id", "nunique"), night=("infrared", "mean")
    )
    own["share"] = own["n"] / max(1, len(pictures))
    own = own.reset_index().sort_values(["n", "label"], ascending=[False, True])
    return [{str(key): value for key, value in row.items()} for row in own.to_dict("records")]


def of_locations(pictures: pd.DataFrame) -> dict[str, Any]:
    """n, how many pictures have none, and the largest with n, share, share by night, classes; {} where none is known."""
    own = pictures[pictures["location"].notna()]
    if own.empty:
        return {}
    table = own.groupby("location").agg(n=("sample_id", "size"), night=("infrared", "mean"), classes=("label", "nunique"))
    table["share"] = table["n"] / len(pictures)
    table = table.reset_index().sort_values(["n", "location"], ascending=[False, True])
    return {"n": len(table), "without": len(pictures) - len(own), "rows": table.head(TOP).to_dict("records")}


def of_sequences(pictures: pd.DataFrame) -> dict[str, Any]:
    """n, how many hold more than one sample, and the largest; {} where each sample stands by itself."""
    sizes = pictures["seq_id"].value_counts()
    if sizes.empty or sizes.max() == 1:
        return {}
    return {"n": len(sizes), "several": int((sizes > 1).sum()), "mean": float(sizes.mean()), "most": int(sizes.max())}


def of_sizes(pictures: pd.DataFrame) -> dict[str, Any]:
    """The commonest sizes in px with n, how many others there are, and the range of widths and heights."""
    sizes = pictures.groupby(["width_px", "height_px"]).size().reset_index(name="n")
    sizes = sizes.sort_values(["n", "width_px", "height_px"], ascending=[False, True, True])
    width, height = pictures["width_px"], pictures["height_px"]
    return {
        "rows": sizes.head(TOP).to_dict("records"),
        "others": max(0, len(sizes) - TOP),
        "range": [int(width.min()), int(width.max()), int(height.min()), int(height.max())] if len(pictures) else [],
        "megabytes": float(pictures["bytes"].sum() / 1e6),
    }


def of_light(pictures: pd.DataFrame) -> dict[str, int]:
    return {"day": int((~pictures["infrared"]).sum()), "night": int(pictures["infrared"].sum())}


def of_times(pictures: pd.DataFrame) -> dict[str, Any]:
    """First and last moment by the cameras' clocks, and how many pictures have none; {} where no time is known."""
    known = pictures["captured_at"].dropna()
    if known.empty:
        return {}
    return {"first": str(known.min()), "last": str(known.max()), "without": len(pictures) - len(known)}


def of_boxes(study: Study) -> dict[str, Any]:
    """Boxes in all, pictures by how many boxes they have, animals without one, the median share of the picture; {} without."""
    boxes, pictures = study.samples.boxes, study.samples.pictures
    if boxes.empty:
        return {}
    each = pictures["sample_id"].map(boxes["sample_id"].value_counts()).fillna(0).astype(int)
    sides = boxes.merge(pictures[["sample_id", "width_px", "height_px"]], on="sample_id")
    area = (sides["x_max_px"] - sides["x_min_px"]) * (sides["y_max_px"] - sides["y_min_px"])
    by_number = each.clip(upper=4).value_counts().sort_index()
    return {
        "n": len(boxes),
        "pictures": [{"boxes": "4 or more" if k == 4 else str(k), "n": int(n)} for k, n in by_number.items()],
        "animals_without": int(((each == 0) & (pictures["label"] != EMPTY)).sum()),
        "median_share": float((area / (sides["width_px"] * sides["height_px"])).median()),
    }


def of_species(pictures: pd.DataFrame) -> list[dict[str, Any]]:
    """Each species where it is known beside the class, with n and how many classes, the commonest first."""
    own = pictures[pictures["species"].notna()].groupby("species").agg(n=("sample_id", "size"), classes=("label", "nunique"))
    return own.reset_index().sort_values(["n", "species"], ascending=[False, True]).to_dict("records")


def of_people(study: Study) -> dict[str, Any]:
    """People, the most of a picture, and their joints: visible, occluded and not annotated; {} without people."""
    people, joints = study.samples.people, study.samples.joints
    if people.empty:
        return {}
    return {
        "people": len(people),
        "most": int(people["sample_id"].value_counts().max()),
        "visible": int((joints["visible"] == VISIBLE).sum()),
        "occluded": int((joints["visible"] == OCCLUDED).sum()),
        "absent": int((joints["visible"] == ABSENT).sum()),
    }


def of_videos(study: Study) -> dict[str, Any]:
    """Frames, seconds and rates of clips; {} of pictures."""
    videos = study.samples.videos
    if videos.empty:
        return {}
    seconds = videos["seconds"]
    return {
        "frames": int(videos["frames"].sum()),
        "seconds": float(seconds.sum()),
        "shortest": float(seconds.min()),
        "median": float(seconds.median()),
        "longest": float(seconds.max()),
        "rates": sorted(float(rate) for rate in videos["frame_rate"].round(2).unique()),
        "variable": int(videos["variable_rate"].sum()),
        "rotated": int((videos["rotation_deg"] != 0).sum()),
    }


def of_keypoints(study: Study) -> dict[str, int]:
    """Keypoints of animals, animals that have some, and kinds; {} without."""
    points = study.samples.keypoints
    if points.empty:
        return {}
    animals = points[["sample_id", "animal"]].drop_duplicates()
    return {"n": len(points), "animals": len(animals), "kinds": int(points["keypoint"].nunique())}


def leaks(splits: dict[str, Any]) -> list[dict[str, Any]]:
    """Of each version of the split and each part that is not train: n, and what of it train has as well."""
    found = []
    for version, split in splits.items():
        leak = split.get("leaks", {})
        for part, n in split["pictures"].items():
            if part in leak.get("look_alikes", {}):
                places = len(leak.get("locations", {}).get(part, []))
                alike = leak["look_alikes"][part]
                found.append({"version": version, "part": part, "n": n, "look_alikes": alike, "locations": places})
    return found


def duplicates(counts: dict[str, Any]) -> int:
    """How many samples were refused as copies of another."""
    reasons = counts.get("rejected_because", {}).get("picture", {})
    return sum(n for reason, n in reasons.items() if "duplicate" in reason)


def limits(study: Study, clips: bool) -> list[str]:
    """What not to expect of the data, each a sentence that follows from the counts by a rule."""
    pictures, what, said = study.samples.pictures, "clips" if clips else "pictures", []
    if study.samples.data == "embedded":
        said.append(f"This program drew the {what}. They show that the pipeline works, and say nothing about real ones.")
    counts = pictures["label"].value_counts()
    if rare := sorted(label for label, n in counts.items() if n < FEW):
        said.append(f"Fewer than {FEW} {what} of: {', '.join(rare)}.")
    if len(counts) > 1 and counts.iloc[0] >= 5 * counts.iloc[-1]:
        ratio = counts.iloc[0] / counts.iloc[-1]
        said.append(f"The classes are uneven: {ratio:.0f} times as many of {counts.index[0]} as of {counts.index[-1]}.")
    places = pictures["location"].value_counts()
    if len(places):
        if places.iloc[0] / len(pictures) > LARGE_SHARE:
            share = places.iloc[0] / len(pictures)
            said.append(f"Location {places.index[0]} gave {share:.0%} of all {what}: figures say most about it.")
    else:
        said.append("Where they were taken is not known: nothing here says how a model does at a new place.")
    if len(places) and not pictures["infrared"].any():
        said.append("None was taken by night (without colour).")
    if not clips and len(study.samples.boxes):
        boxed = set(study.samples.boxes["sample_id"])
        if n := int((~pictures["sample_id"].isin(boxed) & (pictures["label"] != EMPTY)).sum()):
            said.append(
                f"{n} {what} of animals have no box: no detector learns from them, and boxes found there are not judged."
            )
    for version, split in study.splits.items():
        if n := sum(split.get("leaks", {}).get("look_alikes", {}).values()):
            said.append(f"Split {version}: {n} {what} outside train look like one in train, so figures of those parts flatter.")
        if n := split["pictures"].get(UNUSED, 0):
            said.append(f"Split {version}: {n} {what} are in no part.")
    if n := study.counts.get("hand_labels", {}).get("not_labelled_yet", 0):
        said.append(f"{n} {what} that were put out for labelling by hand have no label yet.")
    return said


def examples(study: Study, gallery: Gallery, labels: list[str]) -> list[dict[str, Any]]:
    """A few samples of each class, by seed."""
    pictures = study.samples.pictures[study.samples.pictures["sample_id"].isin(gallery.shows)]
    rows = pictures.set_axis(pictures["sample_id"].tolist())
    some = rows.loc[in_turn(rows.index)].groupby("label").head(SHOWN)
    some = some.assign(place=some.groupby("label").cumcount()).sort_values(["place", "label"], kind="stable").head(SAMPLES_MOST)
    return gallery.of_samples(some.sort_values("label", kind="stable")["sample_id"])

"""The plans of docs/TEACHING.md fill their time, and every question of the quiz has an answer."""

import re

import pytest
from pages import ROOT, read, rows, sections

PAGE = read(ROOT / "docs" / "TEACHING.md")
SECTIONS = sections(PAGE)


def minutes(text):
    return sum(int(row[0]) for row in rows(text) if row[0].isdigit())


def test_the_class_takes_90_minutes_and_its_parts_say_the_same():
    plan = SECTIONS["One class of 90 minutes"]
    assert minutes(plan) == 90
    titles = sections(plan, 3)
    assert [int(re.search(r"(\d+) minutes$", title)[1]) for title in titles] == [
        int(row[0]) for row in rows(plan) if row[0].isdigit()]
    attention = next(text for title, text in titles.items() if "cards" in title)
    assert sum(map(int, re.findall(r"^- \*(\d+) minutes", attention, re.M))) == 25


@pytest.mark.parametrize("session", range(1, 5))
def test_a_session_takes_60_minutes(session):
    found = sections(SECTIONS["Four sessions of 60 minutes"], 3)
    text = next(text for title, text in found.items() if title.startswith(f"Session {session}:"))
    assert minutes(text) == 60


def test_the_totals_for_grading_are_those_of_the_solutions():
    said = re.findall(r"(\d+)(?: of these lines)? in session (\d)", SECTIONS["Grading"])
    paths = sorted((ROOT / "docs" / "notebooks" / "solutions").glob("*.ipynb"))
    assert said == [(str(len(re.findall(r":  *correct\\n\"", read(path)))), path.name[8]) for path in paths]


def test_each_question_of_the_quiz_has_an_answer():
    questions, answers = SECTIONS["Quiz"].split("<details>")
    numbers = [re.findall(r"^(\d+)\. ", part, re.M) for part in (questions, answers)]
    assert numbers[0] == numbers[1] == [str(i + 1) for i in range(len(numbers[0]))]


def test_the_cards_are_the_correct_gradients_and_three_mistakes():
    section = SECTIONS["Cards for attention"]
    cards = [cell for row in rows(section) if len(row) == 4 for cell in row]
    correct = " ".join(section.split("Correct: ")[1].split(". The")[0].split()).split(", ")
    answers = {card.split(" = ")[1] for card in correct}
    assert len(set(cards)) == 8 and len(answers) == 5 and answers < set(cards)

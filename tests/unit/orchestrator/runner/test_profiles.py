"""Conversations of other simulators than the dyadic one: how they are asked, leave, and are kept from going astray."""

from __future__ import annotations

from dataclasses import replace
from math import log

import pytest
from prometheus_client import CollectorRegistry

from platolm.completions import Completion
from platolm.conversation import ASSISTANT, USER, TerminationReason
from platolm.dyadic import Turn
from platolm.respondents import RESPONDENTS
from platolm.simulators import PROFILES as SIMULATORS
from platolm.simulators.cleaning import End
from platolm.simulators.told import Told
from platolm.spec import Endings, Retries, Seed, SeedMode, SideSpec, sampling_seed, speaker_profile
from platolm.tokenizer import HubTokenizer, load_tokenizer
from services.orchestrator.conversations.state import RecordedTurn
from tests.unit.orchestrator.runner.stage import RESPONDENT, SIMULATOR, Stage
from tests.unit.orchestrator.stub_queue import Finished
from tests.unit.simulators.tokenizers import (
    END_CONVERSATION,
    END_OF_TEXT,
    EOT,
    save_chatml_tokenizer,
    save_llama3_tokenizer,
)

PLAN = "You want to plan a party."
SIDES = {"simulator": SideSpec(profile="userlm"), "respondent": SideSpec(profile="chat"), "seed_mode": SeedMode.INTENT}


@pytest.fixture(scope="module")
def llama3(tmp_path_factory: pytest.TempPathFactory) -> HubTokenizer:
    return load_tokenizer(save_llama3_tokenizer(tmp_path_factory.mktemp("llama3")))


@pytest.fixture(scope="module")
def chatml(tmp_path_factory: pytest.TempPathFactory) -> HubTokenizer:
    return load_tokenizer(save_chatml_tokenizer(tmp_path_factory.mktemp("chatml")))


@pytest.fixture
def userlm(stage: Stage, llama3: HubTokenizer) -> Stage:
    stage.tokenizer = llama3
    stage.profiles = ("userlm", "chat")
    stage.seed = Seed(intent=PLAN)
    return stage


def said(tokenizer: HubTokenizer, text: str, *end: int) -> Completion:
    return Completion([*tokenizer.encode(text), *end], "stop", None)


def finished(stage: Stage) -> Finished:
    assert stage.queue.finished is not None
    return stage.queue.finished


async def test_each_side_is_asked_in_its_own_format(userlm: Stage, llama3: HubTokenizer) -> None:
    userlm.answers(SIMULATOR, said(llama3, "\nhow do i plan a party", EOT), said(llama3, "\nand the cake then", EOT))
    userlm.answers(RESPONDENT, said(llama3, "With a list.", EOT), said(llama3, "Buy one.", EOT))
    await userlm.run(**SIDES)
    assert userlm.queue.contents() == ["how do i plan a party", "With a list.", "and the cake then", "Buy one."]
    own_ids = llama3.encode("\nhow do i plan a party")
    spoken = [Turn(USER, "how do i plan a party", own_ids), Turn(ASSISTANT, "With a list.")]
    simulator = speaker_profile("userlm").prompts(llama3)
    asked = [body for _, body in userlm.engines.asked]
    assert asked[0]["prompt"] == simulator.ids([], Told(intent=PLAN))
    assert asked[2]["prompt"] == simulator.ids(spoken, Told(intent=PLAN))
    assert asked[2]["prompt"][: len(asked[0]["prompt"] + own_ids)] == asked[0]["prompt"] + own_ids
    respondent = speaker_profile("chat").prompts(llama3)
    assert asked[1]["prompt"] == respondent.ids([Turn(USER, "how do i plan a party")], Told())
    assert asked[0]["stop_token_ids"] == [EOT, END_CONVERSATION]
    assert asked[1]["stop_token_ids"] == [EOT]
    record = finished(userlm).record
    assert record["simulator"]["system_prompt"] == "You are a user who wants to plan a party."
    assert record["turns"][0]["token_ids"] == own_ids


async def test_the_seeds_question_is_said_verbatim(userlm: Stage, llama3: HubTokenizer) -> None:
    userlm.seed = Seed(intent=PLAN, question="Party?")
    userlm.answers(RESPONDENT, said(llama3, "With a list.", EOT))
    await userlm.run(**SIDES, endings=Endings(max_turns=2))
    assert userlm.queue.contents() == ["Party?", "With a list."]
    assert [url for url, _ in userlm.asked()] == [RESPONDENT]


async def test_a_goodbye_ends_it_and_is_not_said(userlm: Stage, llama3: HubTokenizer) -> None:
    userlm.answers(
        SIMULATOR, said(llama3, "\nhow do i plan a party", EOT), said(llama3, "\nok thanks", END_CONVERSATION)
    )
    userlm.answers(RESPONDENT, said(llama3, "With a list.", EOT))
    await userlm.run(**SIDES)
    assert userlm.queue.contents() == ["how do i plan a party", "With a list.", "ok thanks"]
    assert finished(userlm).reason is TerminationReason.USER_ENDED
    assert finished(userlm).record["goodbye_at"] == 2
    assert finished(userlm).record["num_rounds"] == 1


async def test_turns_after_a_goodbye_on_request(userlm: Stage, llama3: HubTokenizer) -> None:
    """What was cleaned away is not in the next prompt: the goodbye's text is encoded anew."""
    goodbye = [said(llama3, "\nok thanks", END_CONVERSATION), said(llama3, "\none more thing", EOT)]
    userlm.answers(SIMULATOR, said(llama3, "\nhow do i plan a party", EOT), *goodbye)
    userlm.answers(RESPONDENT, *(said(llama3, text, EOT) for text in ("With a list.", "Bye then.", "Yes?")))
    await userlm.run(**SIDES, endings=Endings(extra_turns=3))
    assert userlm.queue.contents()[2:] == ["ok thanks", "Bye then.", "one more thing", "Yes?"]
    record = finished(userlm).record
    assert (record["termination_reason"], record["goodbye_at"], len(record["turns"])) == ("user_ended", 2, 6)
    assert (record["turns"][2]["end"], record["turns"][2]["token_ids"]) == ("marker", None)
    assert record["turns"][2]["num_tokens"] == len(llama3.encode("\nok thanks")) + 1
    prompt = userlm.engines.asked[4][1]["prompt"]
    assert END_CONVERSATION not in prompt


async def test_too_early_a_goodbye_and_a_filtered_word_are_made_again(userlm: Stage, llama3: HubTokenizer) -> None:
    first = [
        said(llama3, "", END_CONVERSATION),
        said(llama3, "\nI want a party", EOT),
        said(llama3, "\nparty plan please", EOT),
    ]
    userlm.answers(SIMULATOR, *first)
    userlm.answers(RESPONDENT, said(llama3, "With a list.", EOT))
    await userlm.run(**SIDES, endings=Endings(max_turns=2))
    assert userlm.queue.contents() == ["party plan please", "With a list."]
    seeds = [seed for url, seed in userlm.asked() if url == SIMULATOR]
    assert seeds == [sampling_seed(0, 7, 0, again) for again in range(3)]
    assert finished(userlm).record["turns"][0]["faults"] == ["early_end", "first_token"]
    for fault in ("early_end", "first_token"):
        assert userlm.counted("utterance_faults_total", side="simulator", fault=fault) == 1
    assert userlm.counted("utterance_retries_total", side="simulator", cause="regenerated") == 2


async def test_what_is_only_clumsy_is_taken_in_the_end(userlm: Stage, llama3: HubTokenizer) -> None:
    userlm.answers(SIMULATOR, *[said(llama3, "\nI want a party", EOT)] * 2)
    userlm.answers(RESPONDENT, said(llama3, "With a list.", EOT))
    await userlm.run(**SIDES, endings=Endings(max_turns=2), retries=Retries(regenerations=1))
    assert userlm.queue.contents() == ["I want a party", "With a list."]
    assert finished(userlm).record["turns"][0]["faults"] == ["first_token", "first_token"]


async def test_what_gives_the_simulation_away_is_left_out(userlm: Stage, llama3: HubTokenizer) -> None:
    slip = said(llama3, "\nAs an AI language model, I have no parties", EOT)
    userlm.answers(SIMULATOR, said(llama3, "\nhow do i plan a party", EOT), *[slip] * 4)
    userlm.answers(RESPONDENT, said(llama3, "With a list.", EOT))
    await userlm.run(**SIDES)
    assert finished(userlm).reason is TerminationReason.UNUSABLE
    said_in_it = [turn["value"] for turn in finished(userlm).record["conversations"]]
    assert said_in_it == ["how do i plan a party", "With a list."]
    assert userlm.counted("utterance_faults_total", side="simulator", fault="role_slip") == 4
    assert userlm.counted("conversations_ended_total", reason="unusable") == 1


async def test_it_goes_on_after_a_worker_died(userlm: Stage, llama3: HubTokenizer) -> None:
    """What the queue holds gives the same prompts as if nothing had happened."""
    goodbye = said(llama3, "\nok thanks", END_CONVERSATION)
    userlm.answers(SIMULATOR, said(llama3, "\nhow do i plan a party", EOT), goodbye)
    userlm.answers(RESPONDENT, said(llama3, "With a list.", EOT), said(llama3, "Bye then.", EOT))
    await userlm.run(**SIDES, endings=Endings(extra_turns=1))
    whole, asked = finished(userlm).record, userlm.engines.asked[3]
    userlm.queue.turns, userlm.queue.finished = userlm.queue.turns[:3], None
    userlm.registry = CollectorRegistry()
    userlm.answers(RESPONDENT, said(llama3, "Bye then.", EOT))
    await userlm.run(**SIDES, endings=Endings(extra_turns=1))
    assert userlm.engines.asked[-1] == asked
    again = finished(userlm).record
    assert [turn["end"] for turn in whole["turns"]] == [None, None, "marker", None]
    assert [turn["end"] for turn in again["turns"]] == [None, None, "marker", None]
    assert again["goodbye_at"] == 2


async def test_a_goodbye_of_several_tokens_is_a_stop_string(stage: Stage, llama3: HubTokenizer) -> None:
    stage.tokenizer = llama3
    stage.profiles = ("roleplay", "chat")
    stage.answers(SIMULATOR, said(llama3, "that was all, thanks<end>", END_OF_TEXT))
    await stage.run(
        simulator=SideSpec(profile="roleplay", system_prompt="You are in a hurry."),
        respondent=SideSpec(profile="chat"),
        retries=Retries(regenerations=0),
    )
    [(_, body)] = stage.engines.asked
    assert (body["stop"], body["stop_token_ids"]) == (["<end>"], [EOT])
    assert finished(stage).reason is TerminationReason.USER_ENDED


async def test_where_the_tokenizer_has_one_id_for_it_the_id_stops(stage: Stage, chatml: HubTokenizer) -> None:
    stage.tokenizer = chatml
    stage.profiles = ("roleplay", "chat")
    end_mark = chatml.id_of("<end>")
    assert end_mark is not None
    stage.answers(SIMULATOR, said(chatml, "that was all, thanks", end_mark))
    await stage.run(
        simulator=SideSpec(profile="roleplay"), respondent=SideSpec(profile="chat"), retries=Retries(regenerations=0)
    )
    [(_, body)] = stage.engines.asked
    assert (body.get("stop"), body["stop_token_ids"]) == (None, [end_mark])
    assert stage.queue.contents() == ["that was all, thanks"]


def doubting(tokenizer: HubTokenizer, text: str, probability: float) -> Completion:
    """An utterance that might have been a goodbye in its first token's place."""
    ids = [*tokenizer.encode(text), EOT]
    likeliest = [{"<|endconversation|>": log(probability), "\n": log(0.1)}, *[{"x": log(0.5)} for _ in ids[1:]]]
    return Completion(ids, "stop", None, likeliest)


@pytest.mark.parametrize(("probability", "num_turns"), [(0.4, 4), (0.5, 3), (0.6, 3)])
async def test_a_likely_goodbye_is_one(userlm: Stage, llama3: HubTokenizer, probability: float, num_turns: int) -> None:
    userlm.answers(SIMULATOR, doubting(llama3, "\nhow do i plan a party", 0.1))
    userlm.answers(SIMULATOR, doubting(llama3, "\nok then thanks", probability))
    userlm.answers(RESPONDENT, said(llama3, "With a list.", EOT), said(llama3, "Good.", EOT))
    userlm.tells_goodbye = True
    await userlm.run(**SIDES, endings=Endings(goodbye_threshold=0.5, max_turns=4))
    assert len(userlm.queue.contents()) == num_turns
    assert [body.get("logprobs") for url, body in userlm.engines.asked if url == SIMULATOR] == [5, 5]
    assert next(body.get("logprobs") for url, body in userlm.engines.asked if url == RESPONDENT) is None
    recorded = [RecordedTurn.from_json(text) for text in userlm.queue.turns]
    assert [turn.remarks and turn.remarks.goodbye_probability for turn in recorded[:3]] == [0.1, None, probability]
    assert recorded[2].end is (End.LIKELY if num_turns == 3 else None)
    assert finished(userlm).record["goodbye_at"] == (2 if num_turns == 3 else None)


@pytest.mark.parametrize("respondent", RESPONDENTS)
@pytest.mark.parametrize("simulator", SIMULATORS)
async def test_every_pair_of_profiles_talks(
    stage: Stage, llama3: HubTokenizer, simulator: str, respondent: str
) -> None:
    """Each prompt is the one composed at once from the record's texts and the ids that were generated."""
    stage.tokenizer = llama3
    stage.profiles = (simulator, respondent)
    texts = ["what do cats eat in winter", "Mice.", "and what about the summer then", "Mice too."]
    for position, text in enumerate(texts):
        stage.answers((SIMULATOR, RESPONDENT)[position % 2], said(llama3, text, EOT if position else END_OF_TEXT))
    side = SideSpec(profile=simulator, system_prompt="You want to know about cats.")
    await stage.run(simulator=side, respondent=SideSpec(profile=respondent))
    record = finished(stage).record
    kept = [turn["value"] for turn in record["conversations"]]
    spoken = [Turn((USER, ASSISTANT)[i % 2], text) for i, text in enumerate(kept)]
    for position, (_, body) in enumerate(stage.engines.asked):
        role = (USER, ASSISTANT)[position % 2]
        seen = [
            replace(turn, content_ids=how["token_ids"]) if turn.role == role else turn
            for turn, how in zip(spoken[:position], record["turns"][:position], strict=True)
        ]
        told = Told(system_prompt=side.system_prompt) if role == USER else Told()
        profile = speaker_profile(simulator if role == USER else respondent)
        assert body["prompt"] == profile.prompts(llama3).ids(seen, told)
    assert (len(kept), record["termination_reason"]) == (4, "turn_limit")

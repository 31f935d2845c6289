"""Any file of dialogues, in any of the forms they come in, as `curation.dialogue.Dialogue`s."""

from __future__ import annotations

from curation.reading.files import Entry as Entry
from curation.reading.files import entries_of as entries_of
from curation.reading.files import files_of as files_of
from curation.reading.files import read_dialogues as read_dialogues
from curation.reading.forms import Form as Form
from curation.reading.forms import Unreadable as Unreadable
from curation.reading.forms import dialogues_of as dialogues_of
from curation.reading.json_lines import record_of as record_of
from curation.reading.opening import begins_a_list as begins_a_list
from curation.reading.opening import opened as opened
from curation.reading.origins import default_id as default_id

"""The respondent's server: a model that answers as the assistant, behind OpenAI's API."""

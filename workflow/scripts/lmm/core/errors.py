"""The one error that a user can meet: a configuration or data that cannot be used."""


def visible(text: str) -> str:
    """The text on one line: line ends, tabs and other characters that print nothing as Python writes them."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


class StudyError(ValueError):
    """Configuration or data of a study cannot be used.

    Parameters
    ----------
    where : str
        Key path inside the study, or a file.
    what : str
        The value met and what was expected, as one line.
    study : str, optional
        The study's name; library functions that do not know it leave it out.

    Notes
    -----
    The message is one line, `studies.<study>.<where>: <what>`.
    """

    def __init__(self, where: str, what: str, study: str | None = None):
        self.where, self.what, self.study = visible(where), visible(" ".join(what.split())), study
        prefix = f"studies.{visible(study)}." if study else ""
        super().__init__(f"{prefix}{self.where}: {self.what}")

    def within(self, study: str) -> "StudyError":
        """The same error, with the study's name in front."""
        return StudyError(self.where, self.what, study)

"""What typer's commands and groups lack here."""

import typer

from dcacn_nb.cli.output import call


class PlainSwitches:
    "Help that shows no type beside a switch: it takes no value."

    def get_params(self, ctx):
        "Its options."
        found = super().get_params(ctx)  # type: ignore[misc]  # of typer's classes
        for option in found:
            if getattr(option, "is_flag", False):
                option.metavar = ""
        return found


class Commands(PlainSwitches, typer.core.TyperGroup):
    "A group of commands."


class Command(PlainSwitches, typer.core.TyperCommand):
    "A command that notes which options were given: one that does nothing here is refused by `refuse_idle`."

    def invoke(self, ctx):
        "Note, and call."
        given = [p for p in self.params if getattr(ctx.get_parameter_source(p.name), "name", "") == "COMMANDLINE"]
        call.given = {p.name: self._as_written(p, ctx.params.get(p.name)) for p in given}
        return super().invoke(ctx)

    @staticmethod
    def _as_written(option, value) -> str:
        "The option's long name; of a switch, the half that was given."
        names = option.secondary_opts if value is False and option.secondary_opts else option.opts
        return max(names, key=len)

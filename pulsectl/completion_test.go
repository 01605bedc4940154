package main

import (
	"testing"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// The scripts complete in the shells they are for, and nothing is dialled: the
// database that is named here is not there.
func TestCompletionInShells(t *testing.T) {
	for shell, start := range map[string][2]string{
		"bash": {"bash --norc --noprofile", "source <(pulsectl completion bash)"},
		"zsh":  {"zsh -f", "autoload -Uz compinit && compinit -D -u && source <(pulsectl completion zsh)"},
		"fish": {"fish --no-config", "pulsectl completion fish | source"},
	} {
		t.Run(shell, func(t *testing.T) {
			testenv.Tool(t, shell)
			term := openTerminal(t, "100", start[0], "PULSE_OUTBOX_DB=postgres://a:b@127.0.0.1:1/x")
			term.typing(start[1], "Enter")
			term.typing("clear; echo set up", "Enter")
			term.shows("^set up$")

			term.typing("pulsectl outb", "Tab")
			term.shows(`pulsectl outbox$`)
			term.typing("ls --stat", "Tab")
			term.shows(`pulsectl outbox ls --status$`)
			term.typing("dea", "Tab")
			term.shows(`pulsectl outbox ls --status dead$`)
			term.typing("--colu", "Tab", "id,lastE", "Tab")
			term.shows(`pulsectl outbox ls --status dead --columns id,lastError$`)
			term.typing("C-u")
			term.typing("pulsectl outbox ls --output=wi", "Tab")
			term.shows(`pulsectl outbox ls --output=wide$`)
			term.typing("C-u")
			// Several candidates are listed with their meaning, where the shell does so.
			term.typing("pulsectl outbox s", "Tab", "Tab")
			term.shows(`show.*stats|stats.*show|show +\(|show +--`)
		})
	}
}

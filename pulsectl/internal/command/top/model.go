package top

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"golang.org/x/term"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/live"
)

// model is what the screen shows. Bubble Tea calls its methods one at a time.
type model struct {
	io       *console.IO
	interval time.Duration

	board  *live.Board // follows
	shown  *live.Board // what is drawn: the board, or a copy while paused
	now    time.Time   // of the last tick
	paused time.Time   // zero: not paused

	width, height int
	offset        int    // the first line of the body that is shown
	filter        string // relays and consumers contain it
	typing        bool   // the filter is being typed
	before        string // the filter before it was typed
	quitting      bool   // the screen is left empty: terminals that break lines anew would keep parts of it
}

// tickMsg redraws the times.
type tickMsg struct{}

// quitMsg ends the program from outside.
type quitMsg struct{}

func newModel(c *console.IO, interval time.Duration) *model {
	b := live.NewBoard()
	return &model{io: c, interval: interval, board: b, shown: b, now: c.Now(), width: 80, height: 24}
}

func (m *model) Init() tea.Cmd { return nil }

func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tickMsg:
		if m.paused.IsZero() {
			m.now = m.io.Now()
		}
	case quitMsg:
		return m, m.quit()
	case live.Sight:
		m.board.Observe(msg)
	case tea.PasteMsg:
		if m.typing {
			m.filter += console.Visible(msg.Content)
		}
	case tea.KeyPressMsg:
		return m, m.key(msg)
	}
	return m, nil
}

// key handles a key.
func (m *model) key(msg tea.KeyPressMsg) tea.Cmd {
	name := msg.String()
	switch name {
	case "ctrl+c":
		return m.quit()
	case "ctrl+z":
		return tea.Suspend
	}
	if m.typing {
		switch name {
		case "enter":
			m.typing = false
		case "esc":
			m.typing, m.filter = false, m.before
		case "backspace":
			_, size := utf8.DecodeLastRuneInString(m.filter)
			m.filter = m.filter[:len(m.filter)-size]
		default:
			m.filter += msg.Text
		}
		return nil
	}
	switch name {
	case "q":
		return m.quit()
	case "p", "space":
		m.pause()
	case "/":
		m.typing, m.before = true, m.filter
	case "esc":
		m.filter = ""
	case "up", "k":
		m.offset--
	case "down", "j":
		m.offset++
	case "pgup":
		m.offset -= m.room()
	case "pgdown":
		m.offset += m.room()
	case "home":
		m.offset = 0
	}
	m.offset = max(0, min(m.offset, len(m.body())-m.room()))
	return nil
}

func (m *model) quit() tea.Cmd {
	m.quitting = true
	return tea.Quit
}

// pause keeps what is shown as it is, or shows the present again. The board
// follows all the time, so that no rate has a gap.
func (m *model) pause() {
	if m.paused.IsZero() {
		m.shown, m.paused = m.board.Clone(), m.io.Now()
		return
	}
	m.shown, m.paused, m.now = m.board, time.Time{}, m.io.Now()
}

// runScreen shows the board on the terminal until a key or ctx ends it. The
// terminal is restored in any case.
func runScreen(ctx context.Context, e *env.Env, interval time.Duration) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	m := newModel(e.IO, interval)
	// Signals end ctx. The program does not get it: Bubble Tea would close the
	// terminal's reader without waiting until it has stopped, which is a data
	// race. Colours are decided by console.
	program := tea.NewProgram(m, tea.WithoutSignalHandler(), tea.WithOutput(e.IO.Out), tea.WithInput(e.IO.In),
		tea.WithColorProfile(colorprofile.ANSI))
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer program.Send(quitMsg{}) // whatever ends it
		cancel(collect(ctx, e, interval, func(s live.Sight) error {
			if err := raised(s); err != nil {
				return err
			}
			program.Send(s)
			return nil
		}, func() error {
			select {
			case <-hangup:
				return errLost
			default:
			}
			if !isTerminal(e.IO.Out) {
				return errLost
			}
			program.Send(tickMsg{})
			return nil
		}))
	}()
	_, err := program.Run()
	interrupted := ctx.Err() != nil
	cause := context.Cause(ctx)
	cancel(nil)
	<-ended
	var p live.Panicked
	switch {
	case errors.As(cause, &p):
		panic(p.Error()) // the terminal is restored now
	case errors.Is(cause, errLost):
		return cause
	case interrupted, err == nil:
		return nil
	case !isTerminal(e.IO.Out):
		return errLost
	}
	return fail.Wrap("cannot draw on the terminal", err)
}

var errLost = fail.New(fail.General, "", "the terminal is gone")

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

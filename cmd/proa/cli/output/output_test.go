// SPDX-License-Identifier: Apache-2.0

package output

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

func publish(t *testing.T, values ...string) []spec.Port {
	t.Helper()
	ports, err := spec.ParsePublishes(values)
	if err != nil {
		t.Fatal(err)
	}
	return ports
}

func TestPorts(t *testing.T) {
	for _, c := range []struct {
		publish, exposed []string
		want             string
	}{
		{[]string{"8080:80"}, nil, "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"},
		{[]string{"80:80"}, nil, "0.0.0.0:80->80/tcp, [::]:80->80/tcp"},
		{[]string{"127.0.0.1:80-82:80-82"}, nil, "127.0.0.1:80-82->80-82/tcp"},
		{[]string{"8100-8105:9000-9005"}, nil, "0.0.0.0:8100-8105->9000-9005/tcp, [::]:8100-8105->9000-9005/tcp"},
		{[]string{"127.0.0.1:81:90", "127.0.0.1:82:91", "127.0.0.1:84:92"}, nil,
			"127.0.0.1:81-82->90-91/tcp, 127.0.0.1:84->92/tcp"},
		{[]string{"[::1]:53:53/udp"}, nil, "[::1]:53->53/udp"},
		{nil, []string{"8443/tcp", "80/tcp", "81/tcp"}, "80-81/tcp, 8443/tcp"},
		{[]string{"127.0.0.1:9000:90"}, []string{"53/udp"}, "53/udp, 127.0.0.1:9000->90/tcp"},
		{nil, nil, ""},
	} {
		if got := Ports(publish(t, c.publish...), c.exposed); got != c.want {
			t.Errorf("%v %v: %q, want %q", c.publish, c.exposed, got, c.want)
		}
	}
	ports := []spec.Port{{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}}
	for only, want := range map[string]string{"": "80/tcp -> 127.0.0.1:8080", "80": "127.0.0.1:8080", "80/tcp": "127.0.0.1:8080", "80/udp": ""} {
		if got := strings.Join(PortLines(ports, only), "|"); got != want {
			t.Errorf("port %q: %q, want %q", only, got, want)
		}
	}
}

func TestStatus(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, c := range []struct {
		s    libpod.Summary
		want string
	}{
		{libpod.Summary{State: lifecycle.Running, StartedAt: ago(16 * time.Second)}, "Up 16 seconds"},
		{libpod.Summary{State: lifecycle.Running, StartedAt: ago(90 * time.Second), Health: "starting"}, "Up About a minute (health: starting)"},
		{libpod.Summary{State: lifecycle.Running, StartedAt: ago(2 * time.Hour), Health: "healthy"}, "Up 2 hours (healthy)"},
		{libpod.Summary{State: lifecycle.Paused, StartedAt: ago(2 * time.Minute)}, "Up 2 minutes (Paused)"},
		{libpod.Summary{State: lifecycle.Running, StartedAt: ago(2 * time.Hour), Host: "n2"}, "Up 2 hours (on n2)"},
		{libpod.Summary{State: lifecycle.Exited, FinishedAt: ago(3 * time.Minute), ExitCode: 137}, "Exited (137) 3 minutes ago"},
		{libpod.Summary{State: lifecycle.Restarting, FinishedAt: ago(time.Second), ExitCode: 1}, "Restarting (1) 1 second ago"},
		{libpod.Summary{State: lifecycle.Created}, "Created"},
		{libpod.Summary{State: lifecycle.Removing}, "Removal In Progress"},
		{libpod.Summary{State: lifecycle.Dead}, "Dead"},
	} {
		if got := Status(&c.s, now); got != c.want {
			t.Errorf("%+v: %q, want %q", c.s, got, c.want)
		}
	}
}

func TestText(t *testing.T) {
	if got := commandLine([]string{"/bin/sh", "-c", "while :; do date; done"}, false); got != `"/bin/sh -c 'while :…"` {
		t.Error(got)
	}
	if got := commandLine([]string{"a", `say "x"`}, true); got != `"a 'say \"x\"'"` {
		t.Error(got)
	}
	if got := ellipsis("äöüäöüäöü", 5); got != "äöüä…" {
		t.Error(got)
	}
	for in, want := range map[string]string{"alpine:3": "alpine|3", "r:5000/a": "r:5000/a|<none>", "r:5000/a:1": "r:5000/a|1"} {
		if repo, tag := SplitTag(in); repo+"|"+tag != want {
			t.Errorf("%s: %s|%s", in, repo, tag)
		}
	}
	env := spec.MergeEnv([]string{"A=1", "B=2", "C=3"}, []string{"B=x", "D=4"}, []string{"C"})
	if got := strings.Join(env, " "); got != "A=1 B=x D=4" {
		t.Error(got)
	}
}

func TestTemplateFunctions(t *testing.T) {
	v := map[string]any{"S": "abc", "L": []string{"x", "y"}, "N": 5}
	for in, want := range map[string]string{
		`{{upper .S}}{{lower "AB"}}{{title .S}}`:   "ABCabAbc",
		`{{join .L "-"}}{{len (split "a,b" ",")}}`: "x-y2",
		`{{truncate .S 2}}|{{pad .S 1 2}}|`:        "ab| abc  |",
		`{{json .L}}{{json "<&>"}}`:                `["x","y"]"<&>"`,
		`{{println .N}}x`:                          "5\nx",
		`{{.S}}\t{{.N}}`:                           "abc\t5",
	} {
		got, err := render(in, v)
		if err != nil || got != want {
			t.Errorf("%s: %q %v", in, got, err)
		}
	}
	if _, err := render("{{.Nope}}", v); !errs.Is(err, errs.Invalid) {
		t.Errorf("unknown name: %v", err)
	}
}

func TestErrorText(t *testing.T) {
	var out, errOut bytes.Buffer
	p := New(&out, &errOut)
	p.Println("result")
	p.Error(errs.WithHint(&errs.Error{Op: "remove container", Object: "web", Err: errors.New("container is running")}, "stop it first with \"proa stop web\", or use --force"))
	want := "proa: cannot remove container \"web\": container is running\nhint: stop it first with \"proa stop web\", or use --force\n"
	if out.String() != "result\n" || errOut.String() != want {
		t.Errorf("%q %q", out.String(), errOut.String())
	}
}

// BenchmarkPS is the printing of 1,000 containers.
func BenchmarkPS(b *testing.B) {
	now := time.Now()
	s := libpod.Summary{ID: strings.Repeat("a", 64), Name: "web", Image: "alpine", Command: []string{"sleep", "1000"}, Created: now, StartedAt: now,
		State: lifecycle.Running, Ports: []spec.Port{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}}}
	var out bytes.Buffer
	for b.Loop() {
		out.Reset()
		p := New(&out, &out)
		rows := make([]any, 1000)
		for i := range rows {
			rows[i] = Container(&s, now, false)
		}
		if err := p.List(List{Header: ContainerHeader(), Columns: ContainerColumns(false)}, rows); err != nil {
			b.Fatal(err)
		}
	}
}

// What an image says of itself must not steer the terminal.
func TestHistoryIsPlain(t *testing.T) {
	h := &libpod.ImageHistory{CreatedBy: "RUN a\x1b[31mred\tb\nc\u009b2J", Comment: "x\x07\n"}
	if r := History(h, time.Now(), false, true); r.CreatedBy != "RUN a [31mred b c 2J" || r.Comment != "x  " {
		t.Errorf("%q %q", r.CreatedBy, r.Comment)
	}
	if r := History(h, time.Now(), true, true); r.CreatedBy != "RUN a [31mred b\nc 2J" {
		t.Errorf("%q", r.CreatedBy)
	}
}

// An error names what strangers chose: paths without end, and worse.
func TestErrorIsShown(t *testing.T) {
	got := shownError("cannot open /d\x1b[2J/" + strings.Repeat("d/", 20000) + "é: too deep\n\tsecond\r line")
	if len(got) > 2000 || !strings.HasPrefix(got, "cannot open /d [2J/d/") || !strings.HasSuffix(got, "/é: too deep\n\tsecond  line") {
		t.Errorf("%d bytes: %.100q", len(got), got)
	}
}

// On a terminal no result steers it; elsewhere it is what it is.
func TestResultsAreLegible(t *testing.T) {
	const text = "a\x1b[2J\u009b2J\x7f\tb ä漢\n"
	for terminal, want := range map[bool]string{false: text, true: "a [2J 2J \tb ä漢\n"} {
		var out, said bytes.Buffer
		p := New(&out, &said)
		p.terminal = terminal
		p.Print(text)
		p.Notice("\x1b[2J")
		if out.String() != want {
			t.Errorf("terminal %t: %q", terminal, out.String())
		}
		if said.String() != "proa:  [2J\n" {
			t.Errorf("said: %q", said.String())
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package state

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/ballast"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// workerEnv makes the test binary a process that works on a database.
const workerEnv = "PROA_STATE_TEST_WORKER"

func TestMain(m *testing.M) {
	if w := os.Getenv(workerEnv); w != "" {
		if err := work(w, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// work is the life of one command: "cycle" does what a run --rm does, once;
// "forever" repeats it; "name" tries to take a name.
func work(kind string, args []string) error {
	d, err := Open(args[0])
	if err != nil {
		return err
	}
	switch kind {
	case "name":
		c, b := sample(args[1])
		err := d.Insert(c, b, nil, Event{})
		var taken *NameTaken
		if errors.As(err, &taken) {
			fmt.Println("taken", taken.ID)
			return nil
		}
		fmt.Println("won", c.ID)
		return err
	case "cycle":
		return cycle(d)
	}
	for {
		if err := cycle(d); err != nil {
			return err
		}
		if d, err = Open(args[0]); err != nil { // the former stays open, as after a crash
			return err
		}
	}
}

func cycle(d *DB) error {
	c, b := sample("")
	if err := d.Insert(c, b, []*Volume{{Name: "v1"}}, Event{}); err != nil {
		return err
	}
	r := c.Record
	r.State, r.StartedAt = lifecycle.Running, time.Now()
	if ok, err := d.Update(c, r, Event{Type: "container", Action: "start", Actor: c.ID}); err != nil || !ok {
		return fmt.Errorf("update: %v %w", ok, err)
	}
	if _, err := d.Find(c.ID[:12]); err != nil {
		return err
	}
	ok, err := d.Delete(c.ID, nil, Event{Type: "container", Action: "destroy", Actor: c.ID})
	if err != nil || !ok {
		return fmt.Errorf("delete: %v %w", ok, err)
	}
	return nil
}

func sample(name string) (*Container, *Body) {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	id := hex.EncodeToString(raw)
	if name == "" {
		name = "n_" + id[:16]
	}
	c := &Container{ID: id, Name: name, Created: time.Now(), Image: "alpine", ImageID: strings.Repeat("ab", 32),
		Command: []string{"/bin/sh", "-c", "echo \x1f hello\n; sleep 5 \xff", ""}, Labels: map[string]string{"a": "1", "b": "2=3"},
		Ports:   []spec.Port{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}},
		Exposed: []string{"80/tcp", "53/udp"}, Restart: "always",
		Mounts: []string{"data"}, Networks: []string{"bridge"}, Record: lifecycle.Record{State: lifecycle.Creating}}
	b := &Body{Spec: spec.Container{Name: name, Image: "alpine", Process: spec.Process{Env: []string{"A=" + strings.Repeat("x", 1500)}}}}
	return c, b
}

func open(t testing.TB) *DB {
	t.Helper()
	d, err := Open(filepath.Join(t.TempDir(), "state ?%.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestRoundTrip(t *testing.T) {
	d := open(t)
	c, b := sample("web")
	if err := d.Insert(c, b, []*Volume{{Name: "data"}}, Event{}); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"web", "/web", c.ID, c.ID[:5]} {
		got, err := d.Find(ref)
		if err != nil {
			t.Fatalf("Find(%q): %v", ref, err)
		}
		want := *c
		want.Created = c.Created.UTC().Round(0)
		if fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", want) {
			t.Errorf("Find(%q)\n got %+v\nwant %+v", ref, *got, want)
		}
	}
	body, err := d.Body(c.ID)
	if err != nil || body.Spec.Process.Env[0] != b.Spec.Process.Env[0] {
		t.Fatalf("body: %v", err)
	}
	if j, _ := d.Journal(); j != "wal" {
		t.Errorf("journal %q", j)
	}
	if err := d.Check(); err != nil {
		t.Error(err)
	}
	fi, err := os.Stat(d.path)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v %v", fi.Mode(), err)
	}
}

func TestFind(t *testing.T) {
	d := open(t)
	add := func(name, id string) {
		c, b := sample(name)
		c.ID = id
		if err := d.Insert(c, b, nil, Event{}); err != nil {
			t.Fatal(err)
		}
	}
	add("one", "abc1"+strings.Repeat("0", 60))
	add("two", "abc2"+strings.Repeat("0", 60))
	add("abc1", "def0"+strings.Repeat("0", 60)) // a name that is another's prefix
	for _, tt := range []struct{ ref, name, text string }{
		{"one", "one", ""}, {"abc2", "two", ""}, {"abc1", "abc1", ""}, {"abc10", "one", ""}, {"d", "abc1", ""},
		{"abc", "", "Multiple IDs found with provided prefix: abc"}, {"zz", "", "No such container: zz"},
		{"", "", "a container's name or id must not be empty"}, {"'; --", "", "No such container: '; --"},
	} {
		c, err := d.Find(tt.ref)
		if tt.text != "" {
			if err == nil || err.Error() != tt.text {
				t.Errorf("Find(%q) = %v, want %q", tt.ref, err, tt.text)
			}
		} else if err != nil || c.Name != tt.name {
			t.Errorf("Find(%q) = %+v %v, want %s", tt.ref, c, err, tt.name)
		}
	}
}

func TestNames(t *testing.T) {
	d := open(t)
	a, body := sample("a")
	b, _ := sample("b")
	for _, c := range []*Container{a, b} {
		if err := d.Insert(c, body, nil, Event{}); err != nil {
			t.Fatal(err)
		}
	}
	other, _ := sample("a")
	var taken *NameTaken
	if err := d.Insert(other, body, nil, Event{}); !errors.As(err, &taken) || taken.ID != a.ID {
		t.Errorf("second a: %v", err)
	}
	if err := d.Rename(b.ID, "a"); !errors.As(err, &taken) || taken.ID != a.ID {
		t.Errorf("rename: %v", err)
	}
	if err := d.Rename(b.ID, "c"); err != nil {
		t.Error(err)
	}
	if err := d.Insert(sample2(t, "b"), body, nil, Event{}); err != nil {
		t.Error(err)
	}
}

func sample2(t *testing.T, name string) *Container {
	t.Helper()
	c, _ := sample(name)
	return c
}

func TestUpdateIsCompareAndSwap(t *testing.T) {
	d := open(t)
	c, b := sample("x")
	if err := d.Insert(c, b, nil, Event{}); err != nil {
		t.Fatal(err)
	}
	stale, err := d.Get(c.ID)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := d.Update(c, lifecycle.Record{State: lifecycle.Created}, Event{}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if ok, err := d.Update(stale, lifecycle.Record{State: lifecycle.Dead}, Event{}); ok || err != nil {
		t.Errorf("a stale update won: %v", err)
	}
	if got, _ := d.Get(c.ID); got.State != lifecycle.Created {
		t.Errorf("state %s", got.State)
	}
}

func TestVolumes(t *testing.T) {
	d := open(t)
	for _, name := range []string{"data", "logs"} {
		if added, err := d.AddVolume(&Volume{Name: name, Driver: "local", Created: time.Now()}); !added || err != nil {
			t.Fatal(added, err)
		}
	}
	if added, _ := d.AddVolume(&Volume{Name: "data"}); added {
		t.Error("added twice")
	}
	c, b := sample("x")
	if err := d.Insert(c, b, []*Volume{{Name: "data"}}, Event{}); err != nil {
		t.Fatal(err)
	}
	if user, found, err := d.DeleteVolume("data"); user != c.ID || !found || err != nil {
		t.Errorf("delete in use: %q %v %v", user, found, err)
	}
	list, err := d.Volumes()
	if err != nil || len(list) != 2 || len(list[0].Users) != 1 || list[0].Users[0] != c.ID || list[1].Users != nil {
		t.Errorf("list: %+v %v", list, err)
	}
	if _, err := d.Delete(c.ID, nil, Event{}); err != nil {
		t.Fatal(err)
	}
	if user, found, err := d.DeleteVolume("data"); user != "" || !found || err != nil {
		t.Errorf("delete: %q %v %v", user, found, err)
	}
	if _, found, _ := d.DeleteVolume("data"); found {
		t.Error("deleted twice")
	}
}

func TestEventsAreBounded(t *testing.T) {
	d := open(t)
	err := d.write("write", func() error {
		for i := range keepEvents + 1000 {
			if err := d.addEvent(Event{Type: "container", Action: "start", Actor: strconv.Itoa(i)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	list, last, err := d.Events(time.Time{}, 0)
	if err != nil || len(list) > keepEvents+256 || last != keepEvents+1000 {
		t.Errorf("%d events, last %d, %v", len(list), last, err)
	}
}

func TestCorruptFile(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"not a database": func(p string) error { return os.WriteFile(p, []byte(strings.Repeat("nonsense ", 1000)), 0o600) },
		"overwritten pages": func(p string) error {
			f, err := os.OpenFile(p, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte(strings.Repeat("\xff", 20000)), 100)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			d, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			for range 20 {
				c, b := sample("")
				if err := d.Insert(c, b, nil, Event{}); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if err := damage(path); err != nil {
				t.Fatal(err)
			}
			d, err = Open(path)
			if err == nil {
				_, err = d.List()
			}
			if !errs.Is(err, errs.Corrupt) || !strings.Contains(errs.HintOf(err), "mv "+path) {
				t.Errorf("error %v (kind %v), hint %q", err, errs.KindOf(err), errs.HintOf(err))
			}
		})
	}
}

// TestFull: on a full file system the room laid aside is given up for what ends
// or goes, never for what is added, and the error says what it is.
func TestFull(t *testing.T) {
	d := open(t)
	reserve := filepath.Join(filepath.Dir(d.path), "reserve")
	c, b := sample("web")
	if err := d.Insert(c, b, nil, Event{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(reserve); err != nil {
		t.Fatalf("the first write laid nothing aside: %v", err)
	}
	if _, err := d.integer("PRAGMA max_page_count=1"); err != nil { // it may not grow any more
		t.Fatal(err)
	}
	more, body := sample("more")
	body.Spec.Process.Env = []string{strings.Repeat("x", 100_000)}
	err := d.Insert(more, body, nil, Event{})
	if !ballast.Full(err) || !errs.Is(err, errs.Unavailable) || errs.HintOf(err) == "" {
		t.Errorf("adding: %v", err)
	}
	if _, err := os.Stat(reserve); err != nil {
		t.Errorf("adding gave the room up: %v", err)
	}
	r := c.Record
	r.State, r.Error = lifecycle.Exited, strings.Repeat("x", 100_000)
	if _, err := d.Update(c, r, Event{}); !ballast.Full(err) {
		t.Errorf("settling: %v", err)
	}
	if _, err := os.Stat(reserve); err == nil {
		t.Error("settling did not give the room up")
	}
	if ok, err := d.Delete(c.ID, nil, Event{}); err != nil || !ok {
		t.Errorf("deleting: %v %v", ok, err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.exec("PRAGMA user_version=99"); err != nil {
		t.Fatal(err)
	}
	_ = d.Close()
	if _, err := Open(path); !errs.Is(err, errs.Unsupported) {
		t.Errorf("error %v", err)
	}
}

func worker(kind string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), workerEnv+"="+kind)
	return cmd
}

func TestManyProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db") // none of them finds it made
	var wg sync.WaitGroup
	for range 50 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if out, err := worker("cycle", path).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		}()
	}
	wg.Wait()
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if list, err := d.List(); err != nil || len(list) != 0 {
		t.Errorf("left: %d, %v", len(list), err)
	}
}

func TestOneNameOneWinner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	var mu sync.Mutex
	var won, taken []string
	var wg sync.WaitGroup
	for range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			out, err := worker("name", path, "web").CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, out)
				return
			}
			f := strings.Fields(string(out))
			mu.Lock()
			defer mu.Unlock()
			if f[0] == "won" {
				won = append(won, f[1])
			} else {
				taken = append(taken, f[1])
			}
		}()
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("winners: %v", won)
	}
	for _, id := range taken {
		if id != won[0] {
			t.Errorf("a loser was told of %s, not %s", id, won[0])
		}
	}
}

func TestKilledWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	for i := range 25 {
		var cmds []*exec.Cmd
		for range 3 {
			cmd := worker("forever", path)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			cmds = append(cmds, cmd)
		}
		time.Sleep(time.Duration(10+i*3) * time.Millisecond)
		for _, cmd := range cmds {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		d, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Check(); err != nil {
			t.Fatal(err)
		}
		list, err := d.List()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list { // an insert is whole: the body came with the row
			if _, err := d.Body(c.ID); err != nil {
				t.Error(err)
			}
		}
		_ = d.Close()
	}
}

func fill(b *testing.B, n int) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "state.db")
	d, err := Open(path)
	if err != nil {
		b.Fatal(err)
	}
	for range n {
		c, body := sample("")
		c.State = lifecycle.Exited
		if err := d.Insert(c, body, nil, Event{}); err != nil {
			b.Fatal(err)
		}
	}
	return path // left open: the WAL is as after many short commands
}

func BenchmarkOpenFind(b *testing.B) {
	path := fill(b, 1000)
	b.ResetTimer()
	for range b.N {
		d, err := Open(path)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := d.Find("nothing"); !errs.Is(err, errs.NotFound) {
			b.Fatal(err)
		}
		_ = d.Close()
	}
}

func BenchmarkOpenList1000(b *testing.B) {
	path := fill(b, 1000)
	b.ResetTimer()
	for range b.N {
		d, err := Open(path)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := d.List(); err != nil {
			b.Fatal(err)
		}
		_ = d.Close()
	}
}

func BenchmarkCycle(b *testing.B) {
	path := fill(b, 1000)
	d, err := Open(path)
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		if err := cycle(d); err != nil {
			b.Fatal(err)
		}
	}
}

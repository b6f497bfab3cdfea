// SPDX-License-Identifier: Apache-2.0

package events

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const writerEnv = "PROA_TEST_EVENTS_WRITER"

func TestMain(m *testing.M) {
	if spec := os.Getenv(writerEnv); spec != "" {
		os.Exit(writer(spec))
	}
	os.Exit(m.Run())
}

// small is a journal that begins a new file after a few events, and keeps all files.
func small(dir string) *Journal {
	return &Journal{dir: dir, size: 2000, keep: 1 << 40, every: time.Minute}
}

// writer appends events and says of each that it was written.
func writer(spec string) int {
	name, dir, _ := strings.Cut(spec, ":")
	for i := range 200 {
		if err := small(dir).Append(context.Background(), event(name, i)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(name, i)
	}
	return 0
}

func event(name string, i int) Event {
	actor := Actor{ID: name, Attributes: map[string]string{"i": strconv.Itoa(i)}}
	return Event{Type: "container", Action: "start", Actor: actor}
}

func key(e *Event) string { return e.Actor.ID + " " + e.Actor.Attributes["i"] }

// readAll returns what is in the journal now.
func readAll(t *testing.T, j *Journal, since time.Time) []*Event {
	t.Helper()
	r := j.Reader(since)
	defer r.Close()
	var list []*Event
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
}

// TestWriters: 8 processes write at the same time, half of them are killed. Each event
// whose writer was told so is there once, for a reader and for a follower.
func TestWriters(t *testing.T) {
	j := small(t.TempDir())
	follower := j.Reader(time.Time{})
	defer follower.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	followed := make(chan []string, 1)
	go func() {
		var list []string
		for {
			e, err := follower.Follow(ctx)
			if err != nil {
				t.Error(err)
			}
			if err != nil || e.Action == "last" {
				break
			}
			list = append(list, key(e))
		}
		followed <- list
	}()

	acknowledged := make([][]string, 8)
	var wg sync.WaitGroup
	for w := range acknowledged {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d:%s", writerEnv, w, j.dir))
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Error(err)
				return
			}
			s := bufio.NewScanner(out)
			for s.Scan() {
				acknowledged[w] = append(acknowledged[w], s.Text())
				if w%2 == 1 && len(acknowledged[w]) == 20*w {
					_ = cmd.Process.Kill()
				}
			}
			if err := cmd.Wait(); (err != nil) != (w%2 == 1) {
				t.Errorf("writer %d: %v", w, err)
			}
		})
	}
	wg.Wait()
	if err := j.Append(ctx, Event{Type: "container", Action: "last"}); err != nil {
		t.Fatal(err)
	}

	all := readAll(t, j, time.Time{})
	var seen []string
	count := map[string]int{}
	for _, e := range all[:len(all)-1] {
		seen = append(seen, key(e))
		count[key(e)]++
	}
	for k, n := range count {
		if n != 1 {
			t.Errorf("event %s is there %d times", k, n)
		}
	}
	total := 0
	for w, list := range acknowledged {
		total += len(list)
		if w%2 == 0 && len(list) != 200 {
			t.Errorf("writer %d wrote %d events", w, len(list))
		}
		for _, k := range list {
			if count[k] != 1 {
				t.Errorf("event %s of writer %d is lost", k, w)
			}
		}
	}
	// A killed writer may have written one that it could not tell of.
	if len(seen) < total {
		t.Errorf("%d events, and %d were acknowledged", len(seen), total)
	}
	if f := <-followed; strings.Join(f, ",") != strings.Join(seen, ",") {
		t.Errorf("the follower saw %d events, a reader %d", len(f), len(seen))
	}
	if list, _ := j.list(); len(list) < 10 {
		t.Errorf("only %d files: the test did not rotate", len(list))
	}
}

// TestFollowAtOnce: a notice wakes a follower, also across files; its timer is a minute.
func TestFollowAtOnce(t *testing.T) {
	j := small(t.TempDir() + "/not/yet")
	r := j.Reader(time.Time{})
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	type seen struct {
		i  string
		at time.Time
	}
	came := make(chan seen)
	go func() {
		defer close(came)
		for {
			e, err := r.Follow(ctx)
			if err != nil {
				return
			}
			came <- seen{e.Actor.Attributes["i"], time.Now()}
		}
	}()
	var delays []time.Duration
	for i := range 40 {
		time.Sleep(2 * time.Millisecond) // the follower is at its wait
		begin := time.Now()
		if err := j.Append(ctx, event("f", i)); err != nil {
			t.Fatal(err)
		}
		s, ok := <-came
		if !ok || s.i != strconv.Itoa(i) {
			t.Fatalf("event %d: %q %v", i, s.i, ok)
		}
		delays = append(delays, s.at.Sub(begin))
	}
	late := 0
	for _, d := range delays {
		if d > 50*time.Millisecond {
			late++
		}
	}
	if late > len(delays)/4 { // a busy machine may delay some
		t.Errorf("%d of %d events came after more than 50 ms: %v", late, len(delays), delays)
	}
	cancel()
	if _, ok := <-came; ok {
		t.Error("an event after the end")
	}
}

// TestTorn: a line without an end, and a line that is no event, hide no other.
func TestTorn(t *testing.T) {
	j := small(t.TempDir())
	add := func(i int) {
		t.Helper()
		if err := j.Append(t.Context(), event("t", i)); err != nil {
			t.Fatal(err)
		}
	}
	raw := func(s string) {
		t.Helper()
		f, err := os.OpenFile(j.path(1), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	r := j.Reader(time.Time{})
	defer r.Close()
	want := func(i int) {
		t.Helper()
		e, err := r.Next()
		if i < 0 {
			if !errors.Is(err, io.EOF) {
				t.Fatalf("%v, %v", e, err)
			}
			return
		}
		if err != nil || key(e) != fmt.Sprint("t ", i) {
			t.Fatalf("want %d: %v, %v", i, e, err)
		}
	}
	want(-1)
	add(1)
	want(1)
	whole, _ := json.Marshal(event("t", 99))
	raw(string(whole[:len(whole)/2]))
	want(-1)
	add(2)
	want(2)
	raw("\n\n{}\n[1]\n\x00\x00\xff\n")
	want(-1)
	add(3)
	want(3)
	raw(`{"Type":`)
	for i := 4; i < 40; i++ { // over several files
		add(i)
		want(i)
	}
	want(-1)
	if got := len(readAll(t, j, time.Time{})); got != 39 {
		t.Errorf("%d events", got)
	}
}

func TestKeepAndSince(t *testing.T) {
	j := small(t.TempDir())
	j.keep = 2
	began := time.Unix(1700000000, 0)
	for i := range 100 {
		e := event("k", i)
		e.TimeNano = began.Add(time.Duration(i) * time.Second).UnixNano()
		if err := j.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := j.list(); len(list) != 3 || err != nil {
		t.Errorf("files %v, %v", list, err)
	}
	all := readAll(t, j, time.Time{})
	if n := len(all); n < 20 || n > 40 || key(all[n-1]) != "k 99" {
		t.Errorf("%d events", n)
	}
	last := readAll(t, j, began.Add(95*time.Second))
	if len(last) != 5 || key(last[0]) != "k 95" || last[0].Time != began.Unix()+95 || last[0].Scope != "local" {
		t.Errorf("%d events since: %+v", len(last), last)
	}
	large := event("k", 0)
	large.Actor.Attributes["label"] = strings.Repeat("x", maxLine)
	if err := j.Append(t.Context(), large); err == nil {
		t.Error("an event beyond the limit was written")
	}
	text, _ := json.Marshal(last[4])
	want := `{"Type":"container","Action":"start","Actor":{"ID":"k","Attributes":{"i":"99"}},` +
		`"scope":"local","time":1700000099,"timeNano":1700000099000000000}`
	if string(text) != want {
		t.Errorf("%s", text)
	}
}

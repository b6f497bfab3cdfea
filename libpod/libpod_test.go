// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/libpod/state"
	"github.com/proa-containers/proa/pkg/dirs"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/rundir"
	"github.com/proa-containers/proa/pkg/spec"
)

// testEngine is an engine in directories of its own, which collects notices.
func testEngine(t *testing.T) (e *Engine, notices *[]string) {
	t.Helper()
	base := t.TempDir()
	d := dirs.Dirs{Data: filepath.Join(base, "data"), Run: filepath.Join(base, "run")}
	for _, p := range []string{d.Data, d.Run} {
		if err := os.Mkdir(p, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	notices = &[]string{}
	e, err := Open(t.Context(), Options{Dirs: d, Notice: func(s string) { *notices = append(*notices, s) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e, notices
}

// stored puts a container into the database with its data directory.
func stored(t *testing.T, e *Engine, name string, r lifecycle.Record, change func(*state.Container)) *state.Container {
	t.Helper()
	db, err := e.db()
	if err != nil {
		t.Fatal(err)
	}
	id, err := anonymousName()
	if err != nil {
		t.Fatal(err)
	}
	c := &state.Container{ID: id, Name: name, Created: time.Now(), Image: "alpine", ImageID: "1", Record: r}
	if change != nil {
		change(c)
	}
	b := &state.Body{Spec: spec.Container{Name: name}}
	for _, m := range c.Mounts {
		b.Spec.Mounts = append(b.Spec.Mounts, spec.Mount{Type: spec.MountVolume, Source: m, Target: "/in/" + m})
	}
	if err := db.Insert(c, b, nil, state.Event{}); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(e.dirs.Container(c.ID), 0o700); err != nil {
		t.Fatal(err)
	}
	return c
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

var running = lifecycle.Record{State: lifecycle.Running, StartedAt: time.Unix(1000, 0).UTC()}

func TestKilledMonitorIsToldOnce(t *testing.T) {
	e, notices := testEngine(t)
	c := stored(t, e, "web", running, nil)
	run := e.dirs.ContainerRun(c.ID)
	write(t, filepath.Join(run, rundir.LockFile), "")
	write(t, filepath.Join(run, rundir.StatusFile), `{"state":"running","startedAt":"1970-01-01T00:16:40Z"}`)
	lease := filepath.Join(e.dirs.Net(), "bridge", "172.17.0.2@"+c.ID)
	write(t, lease, "{}")
	for range 2 {
		got, err := e.Inspect(t.Context(), "web")
		if err != nil {
			t.Fatal(err)
		}
		if got.State != lifecycle.Exited || got.Exit == nil || got.Exit.Code != 137 || got.Exit.Error != lifecycle.MonitorKilled {
			t.Errorf("inspect: %s %+v", got.State, got.Exit)
		}
	}
	want := []string{`the monitor of container "web" was killed; the container has been ended and its ports are free`}
	if !reflect.DeepEqual(*notices, want) {
		t.Errorf("notices %q", *notices)
	}
	for _, p := range []string{run, lease} {
		if _, err := os.Lstat(p); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", p, err)
		}
	}
}

func TestHalfMadeContainersVanish(t *testing.T) {
	e, _ := testEngine(t)
	made := stored(t, e, "half", lifecycle.Record{State: lifecycle.Creating}, nil)
	removed := stored(t, e, "gone", lifecycle.Record{State: lifecycle.Removing}, nil)
	ended := stored(t, e, "rm", running, func(c *state.Container) { c.AutoRemove = true })
	write(t, filepath.Join(e.dirs.Container(ended.ID), rundir.ExitFile), `{"code":3,"startedAt":"1970-01-01T00:16:40Z","finishedAt":"1970-01-01T01:00:00Z"}`)
	stray := strings.Repeat("ab", 32)
	write(t, filepath.Join(e.dirs.ContainerRun(stray), rundir.LockFile), "")
	write(t, filepath.Join(e.dirs.Container(stray), rundir.LockFile), "")
	list, err := e.List(t.Context(), ListOptions{All: true})
	if err != nil || len(list) != 0 {
		t.Fatalf("list: %v %v", list, err)
	}
	for _, id := range []string{made.ID, removed.ID, ended.ID, stray} {
		for _, p := range []string{e.dirs.Container(id), e.dirs.ContainerRun(id)} {
			if _, err := os.Lstat(p); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is left", p)
			}
		}
	}
	if leaks, err := e.Leaks(t.Context()); err != nil || len(leaks) != 0 {
		t.Errorf("leaks %q %v", leaks, err)
	}
}

// TestLostDatabase: what a lost record stood for is never deleted by commands that
// look; Check finds it, and Repair makes volumes of it.
func TestLostDatabase(t *testing.T) {
	e, notices := testEngine(t)
	id := strings.Repeat("ab", 32)
	write(t, filepath.Join(e.dirs.ContainerRun(id), rundir.LockFile), "")
	write(t, filepath.Join(e.dirs.ContainerRun(id), rundir.StatusFile), `{"state":"running"}`)
	write(t, filepath.Join(e.dirs.Container(id), "upper", "x"), "mine")
	write(t, filepath.Join(e.volumeData("kept"), "y"), "mine too")
	for range 2 {
		if list, err := e.List(t.Context(), ListOptions{All: true}); err != nil || len(list) != 0 {
			t.Fatalf("list: %v %v", list, err)
		}
	}
	if len(*notices) != 1 || !strings.Contains((*notices)[0], "is new and does not know 1 volume and 1 container") {
		t.Errorf("notices %q", *notices)
	}
	if _, err := os.Lstat(e.dirs.ContainerRun(id)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the runtime directory is left: %v", err)
	}
	volumes, containers, err := e.findLost()
	if err != nil || len(volumes) != 1 || volumes[0].name != "kept" || len(containers) != 1 || containers[0].name != id {
		t.Fatalf("found %+v %+v, %v", volumes, containers, err)
	}
	// One that runs is left alone.
	lock, err := rundir.Lock(e.paths(id))
	if err != nil {
		t.Fatal(err)
	}
	if _, containers, err = e.findLost(); err != nil || len(containers) != 1 || containers[0].monitor == nil {
		t.Errorf("a running one: %+v %v", containers, err)
	}
	if _, err := e.keepFiles(containers[0]); !errs.Is(err, errs.State) {
		t.Errorf("a running one was taken: %v", err)
	}
	lock.Close()
	// One that was only begun has nothing to keep.
	begun := strings.Repeat("cd", 32)
	write(t, filepath.Join(e.dirs.Container(begun), rundir.LockFile), "")
	e.removeUnmade()
	if _, err := os.Lstat(e.dirs.Container(begun)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("begun and left: %v", err)
	}
	if err := e.adopt("kept"); err != nil {
		t.Fatal(err)
	}
	name, err := e.keepFiles(containers[0])
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(e.volumeData(name), "upper", "x"): "mine",
		filepath.Join(e.volumeData("kept"), "y"):        "mine too",
	} {
		if text, err := os.ReadFile(path); err != nil || string(text) != want {
			t.Errorf("%s: %q %v", path, text, err)
		}
	}
	list, err := e.Volumes(t.Context(), nil)
	if err != nil || len(list) != 2 || list[0].Name != "kept" || list[1].Name != name || list[0].Anonymous {
		t.Errorf("volumes %+v %v", list, err)
	}
	if leaks, err := e.Leaks(t.Context()); err != nil || len(leaks) != 0 {
		t.Errorf("leaks %q %v", leaks, err)
	}
}

// A monitor of an older proa has no lock in the data directory. With its runtime
// directory gone, its process is what shows that it lives.
func TestMonitorWithoutLock(t *testing.T) {
	e, notices := testEngine(t)
	start, err := rundir.StartTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	r := running
	r.Place = e.here(&monitor.Status{Head: rundir.Head{MonitorPID: os.Getpid(), MonitorStart: start}})
	c := stored(t, e, "old", r, nil)
	if got, err := e.load(t.Context(), "old"); err != nil || !got.running() || len(*notices) != 0 {
		t.Fatalf("%+v %v %q", got, err, *notices)
	}
	if err := e.Remove(t.Context(), "old", RemoveOptions{Force: true}); !errs.Is(err, errs.Unavailable) {
		t.Errorf("rm -f: %v", err)
	}
	if err := e.Start(t.Context(), "old", StartOptions{}); err != nil {
		t.Errorf("start of a running one: %v", err)
	}
	// One that could have been locked, and is not, is dead.
	write(t, filepath.Join(e.dirs.Container(c.ID), rundir.LockFile), "")
	if got, err := e.load(t.Context(), "old"); err != nil || got.State != lifecycle.Exited || got.ExitCode != 137 {
		t.Errorf("%+v %v", got, err)
	}
}

// A command that read the record while it was being made, and looks at the lock
// when that is done, must not take the container for an abandoned one.
func TestFinishedInBetween(t *testing.T) {
	e, _ := testEngine(t)
	c := stored(t, e, "new", lifecycle.Record{State: lifecycle.Creating}, nil)
	db, err := e.db()
	if err != nil {
		t.Fatal(err)
	}
	old, err := db.Get(c.ID)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := db.Update(c, lifecycle.Record{State: lifecycle.Created}, state.Event{}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	got, err := e.reconcile(t.Context(), old)
	if err != nil || got == nil || got.State != lifecycle.Created {
		t.Fatalf("reconciled: %+v %v", got, err)
	}
	if _, err := os.Lstat(e.dirs.Container(c.ID)); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(e.dirs.ContainerRun(c.ID)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the runtime directory is left: %v", err)
	}
}

// What a command that only looks stores in between takes nothing away from
// those that act.
func TestRecordChangedMeanwhile(t *testing.T) {
	e, _ := testEngine(t)
	c := stored(t, e, "web", lifecycle.Record{State: lifecycle.Creating}, nil)
	db, err := e.db()
	if err != nil {
		t.Fatal(err)
	}
	seen, err := db.Get(c.ID)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := db.Update(seen, running, state.Event{}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	old := *c
	cfg := &monitor.Config{Rootfs: spec.Rootfs{Driver: "overlay", Upper: "/u"}}
	if err := e.commitStart(c, cfg, &monitor.Status{StartedAt: time.Unix(2000, 0)}); err != nil {
		t.Fatal(err)
	}
	body, err := db.Body(c.ID)
	if err != nil || body.Rootfs.Upper != "/u" || !c.StartedAt.Equal(running.StartedAt) {
		t.Errorf("root %+v, record %+v, %v", body.Rootfs, c.Record, err)
	}
	if err := e.destroy(t.Context(), &old, false); err != nil {
		t.Fatal(err)
	}
	if row, err := db.Get(c.ID); row != nil || err != nil {
		t.Errorf("removed, and still there: %+v %v", row, err)
	}
}

// Whoever clears up after a dead monitor holds the lock beside its last status:
// the container that was recorded as ended does not come back to life.
func TestClearedMeanwhile(t *testing.T) {
	e, _ := testEngine(t)
	c := stored(t, e, "web", lifecycle.Record{State: lifecycle.Exited, ExitCode: 137, StartedAt: running.StartedAt, FinishedAt: time.Unix(2000, 0)}, nil)
	run := e.dirs.ContainerRun(c.ID)
	lock, err := rundir.Lock(e.paths(c.ID))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	write(t, filepath.Join(run, rundir.StatusFile), `{"state":"running","startedAt":"1970-01-01T00:16:40Z","monitorPid":999999999,"monitorStart":1}`)
	got, err := e.load(t.Context(), "web")
	if err != nil || got.State != lifecycle.Exited {
		t.Errorf("%+v %v", got, err)
	}
}

// A monitor of another version goes on, and is not spoken to in the wrong language.
func TestMonitorOfAnotherVersion(t *testing.T) {
	e, notices := testEngine(t)
	c := stored(t, e, "web", running, nil)
	lock, err := rundir.Lock(e.paths(c.ID))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	status := filepath.Join(e.dirs.ContainerRun(c.ID), rundir.StatusFile)
	for protocol, want := range map[int]errs.Kind{
		rundir.OldestProtocol: errs.State, // nobody listens in this test
		rundir.Protocol:       errs.State,
		rundir.Protocol + 1:   errs.Unsupported,
	} {
		write(t, status, fmt.Sprintf(`{"protocol":%d,"state":"running","monitorPid":4711}`, protocol))
		if err := e.Pause(t.Context(), "web"); !errs.Is(err, want) {
			t.Errorf("protocol %d: pause: %v", protocol, err)
		} else if want == errs.Unsupported && !strings.Contains(errs.HintOf(err), `"kill 4711"; then: proa start web`) {
			t.Errorf("hint %q", errs.HintOf(err))
		}
	}
	write(t, status, fmt.Sprintf(`{"protocol":%d,"state":"running"}`, rundir.Protocol+1))
	if err := e.Stop(t.Context(), "web", StopOptions{}); !errs.Is(err, errs.Unsupported) {
		t.Errorf("stop: %v", err)
	}
	if err := e.Remove(t.Context(), "web", RemoveOptions{Force: true}); !errs.Is(err, errs.Unsupported) {
		t.Errorf("rm -f: %v", err)
	}
	if got, err := e.load(t.Context(), "web"); err != nil || !got.running() || len(*notices) != 0 {
		t.Errorf("it does not run any more: %+v %v %q", got, err, *notices)
	}
}

func TestOneAtWorkIsLeftAlone(t *testing.T) {
	e, _ := testEngine(t)
	c := stored(t, e, "half", lifecycle.Record{State: lifecycle.Creating}, nil)
	lock, err := rundir.Lock(e.paths(c.ID))
	if err != nil {
		t.Fatal(err)
	}
	list, err := e.List(t.Context(), ListOptions{All: true})
	if err != nil || len(list) != 1 || list[0].State != lifecycle.Created {
		t.Fatalf("list: %+v %v", list, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := e.Remove(ctx, "half", RemoveOptions{Force: true}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("rm -f of a container that is being made: %v", err)
	}
	_ = lock.Close()
	if err := e.Remove(t.Context(), "half", RemoveOptions{Force: true}); err != nil && !errs.Is(err, errs.NotFound) {
		t.Errorf("rm -f afterwards: %v", err)
	}
}

func TestAnonymousVolumesGoWithTheContainer(t *testing.T) {
	e, _ := testEngine(t)
	db, err := e.db()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"anon", "shared", "named"} {
		if err := e.makeVolumeDir(v); err != nil {
			t.Fatal(err)
		}
	}
	insert := func(name string, vols ...*state.Volume) *state.Container {
		c := &state.Container{ID: strings.Repeat(name, 64), Name: name + name, Created: time.Now(), Record: lifecycle.Record{State: lifecycle.Exited, FinishedAt: time.Now()}}
		if err := db.Insert(c, &state.Body{}, vols, state.Event{}); err != nil {
			t.Fatal(err)
		}
		return c
	}
	insert("a", &state.Volume{Name: "anon", Anonymous: true}, &state.Volume{Name: "shared", Anonymous: true}, &state.Volume{Name: "named"})
	insert("b", &state.Volume{Name: "shared", Anonymous: true})
	if err := e.Remove(t.Context(), "aa", RemoveOptions{Volumes: true}); err != nil {
		t.Fatal(err)
	}
	vols, err := e.Volumes(t.Context(), nil)
	if err != nil || len(vols) != 2 || vols[0].Name != "named" || vols[1].Name != "shared" || len(vols[1].Containers) != 1 {
		t.Errorf("volumes %+v %v", vols, err)
	}
	if _, err := os.Lstat(e.volumeData("anon")); err == nil {
		t.Error("the anonymous volume's directory is left")
	}
	if err := e.VolumeRemove(t.Context(), "shared", false); !errs.Is(err, errs.InUse) {
		t.Errorf("rm of a volume in use: %v", err)
	}
	if err := e.VolumeRemove(t.Context(), "named", false); err != nil {
		t.Error(err)
	}
}

func TestFilters(t *testing.T) {
	e, _ := testEngine(t)
	old := stored(t, e, "old", lifecycle.Record{State: lifecycle.Exited, ExitCode: 3, FinishedAt: time.Now()}, func(c *state.Container) {
		c.Created = time.Now().Add(-time.Hour)
		c.Labels = map[string]string{"a": "1", "b": "2"}
		c.Mounts = []string{"data"}
		c.Networks = []string{"bridge"}
		c.Exposed = []string{"80/tcp"}
	})
	stored(t, e, "new", lifecycle.Record{State: lifecycle.Created}, func(c *state.Container) {
		c.Labels = map[string]string{"a": "9"}
		c.Networks = []string{"net1"}
		c.Ports = []spec.Port{{ContainerPort: 8080, HostPort: 80, Protocol: "udp"}}
	})
	for _, tt := range []struct{ filters, want string }{
		{"", "new old"}, {"name=ol", "old"}, {"name=^/old$", "old"}, {"name=x", ""}, {"name=old name=new", "new old"}, {"id=" + old.ID[:6], "old"},
		{"label=a", "new old"}, {"label=a=1", "old"}, {"label=a label=b", "old"}, {"status=exited", "old"}, {"status=created", "new"},
		{"exited=3", "old"}, {"exited=0", ""}, {"volume=data", "old"}, {"volume=/in/data", "old"}, {"volume=data:/in/data", "old"}, {"volume=data:/in", ""}, {"volume=dat", ""}, {"network=net1", "new"}, {"network=bridge name=new", ""},
		{"before=new", "old"}, {"since=old", "new"}, {"expose=80", "old"}, {"expose=8000-9000/udp", "new"}, {"publish=80", ""},
		{"health=none", "new old"}, {"is-task=true", ""}, {"is-task=false", "new old"},
		{"colour=red", "!invalid filter 'colour'"}, {"status=sleepy", "!invalid filter 'status=sleepy'"}, {"exited=x", "!invalid filter 'exited=x'"},
		{"publish=a", "!invalid filter 'publish=a'"}, {"before=nobody", "!No such container: nobody"},
	} {
		f := map[string][]string{}
		for _, kv := range strings.Fields(tt.filters) {
			k, v, _ := strings.Cut(kv, "=")
			f[k] = append(f[k], v)
		}
		list, err := e.List(t.Context(), ListOptions{All: true, Filters: f})
		var got []string
		for _, s := range list {
			got = append(got, s.Name)
		}
		text := strings.Join(got, " ")
		if err != nil {
			text = "!" + err.Error()
		}
		if text != tt.want {
			t.Errorf("%s: %q, want %q", tt.filters, text, tt.want)
		}
	}
}

func TestPublish(t *testing.T) {
	img := &spec.ImageConfig{ExposedPorts: []string{"443", "53/udp", "80/tcp", "8000-8002/tcp", "x/tcp"}}
	c := &spec.Container{Network: spec.Network{PublishAll: true, Ports: []spec.Port{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}},
		Expose: []spec.Port{{ContainerPort: 9, Protocol: "tcp"}, {ContainerPort: 53, Protocol: "udp"}}}}
	before := exposed(c, img)
	if err := publish(c, before); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range c.Network.Ports {
		got = append(got, fmt.Sprintf("%d:%s", p.HostPort, portKey(p)))
	}
	want := "8080:80/tcp 0:9/tcp 0:53/udp 0:443/tcp 0:8000/tcp 0:8001/tcp 0:8002/tcp"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("ports %s\nwant  %s", s, want)
	}
	if s := strings.Join(portTexts(before), " "); s != "9/tcp 53/udp 80/tcp 443/tcp 8000-8002/tcp" {
		t.Errorf("exposed %s", s)
	}
	if s := strings.Join(portTexts(unpublished(before, []spec.Port{{ContainerPort: 8001, Protocol: "tcp"}, {ContainerPort: 9}})), " "); s !=
		"53/udp 80/tcp 443/tcp 8000/tcp 8002/tcp" {
		t.Errorf("exposed and not published %s", s)
	}
}

// An image's configuration of a few bytes asks for no more than it says.
func TestImageBounds(t *testing.T) {
	many := func(n int, text string) (list []string) {
		for i := range n {
			list = append(list, fmt.Sprintf(text, 2*i+1))
		}
		return list
	}
	wide := []string{"1-65535/tcp", "1-65535/udp", "2-70000/tcp", "9-1/tcp"}
	for i := range 100 {
		wide = append(wide, fmt.Sprintf("1-65535/p%d", i))
	}
	check := func(i int, v time.Duration) *spec.Health {
		h := &spec.Health{Test: []string{"CMD", "true"}}
		*[]*time.Duration{&h.Interval, &h.Timeout, &h.StartPeriod, &h.StartInterval}[i] = v
		return h
	}
	c := &spec.Container{}
	if got := portTexts(exposed(c, &spec.ImageConfig{ExposedPorts: wide})); strings.Join(got, " ") != "1-65535/tcp 1-65535/udp" {
		t.Errorf("exposed %q", got)
	}
	c.Network.PublishAll = true
	if err := publish(c, imagePorts(&spec.ImageConfig{ExposedPorts: wide})); !errs.Is(err, errs.Invalid) || len(c.Network.Ports) != 0 {
		t.Errorf("-P: %v, %d ports", err, len(c.Network.Ports))
	}
	for what, img := range map[string]spec.ImageConfig{
		"ports":   {ExposedPorts: many(maxExposed+1, "%d/tcp")},
		"volumes": {Volumes: many(maxVolumes+1, "/v%d")},
		"retries": {Health: &spec.Health{Test: []string{"CMD", "true"}, Retries: -1}},
	} {
		if err := checkImage(c, &img); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range 4 {
		for v, good := range map[time.Duration]bool{0: true, 1: false, -1: false, time.Millisecond - 1: false, time.Millisecond: true} {
			if err := checkImage(c, &spec.ImageConfig{Health: check(i, v)}); (err == nil) != good || err != nil && errs.HintOf(err) == "" {
				t.Errorf("duration %d of %v: %v", i, v, err)
			}
		}
	}
	img := spec.ImageConfig{Health: check(0, 1)}
	for _, own := range []*spec.Health{{Test: []string{"NONE"}}, {Interval: time.Second}} {
		if err := checkImage(&spec.Container{Health: own}, &img); err != nil {
			t.Errorf("with %+v of the user's: %v", own, err)
		}
	}
}

func TestAutoIDs(t *testing.T) {
	e, _ := testEngine(t)
	db, err := e.db()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[uint32]bool{}
	for i := range 3 {
		c := spec.Container{Security: spec.Security{Userns: "auto"}}
		if err := e.reserveAutoIDs(db, &c); err != nil {
			t.Skip("no ids here:", err)
		}
		start := autoStart(&c)
		if start == 0 || seen[start] {
			t.Errorf("slice %d again", start)
		}
		seen[start] = true
		if err := db.Insert(&state.Container{ID: fmt.Sprint(i), Name: fmt.Sprint("n", i)}, &state.Body{Spec: c}, nil, state.Event{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := freeSlice(1024, nil); ok {
		t.Error("a slice that would take id 0")
	}
	if s, ok := freeSlice(2049, map[uint32]bool{1025: true}); ok != true || s != 1 {
		t.Errorf("slice %d %v", s, ok)
	}
}

func TestBelow(t *testing.T) {
	root := t.TempDir()
	for _, d := range []string{"in/side", "other"} {
		if err := os.MkdirAll(filepath.Join(root, "vol", d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc", filepath.Join(root, "vol", "out")); err != nil {
		t.Fatal(err)
	}
	vol := filepath.Join(root, "vol")
	for sub, ok := range map[string]bool{"in/side": true, "/other": true, "../vol/in": false, "out": false, "out/passwd": false, "../../etc": false, "missing": false} {
		got, err := below(vol, sub)
		if (err == nil) != ok || ok && !strings.HasPrefix(got, vol) {
			t.Errorf("below(%q) = %q, %v", sub, got, err)
		}
	}
}

func TestMergeHealth(t *testing.T) {
	img := &spec.ImageConfig{Health: &spec.Health{Test: []string{"CMD", "a"}, Interval: 5, Retries: 2}}
	h := health(&spec.Container{Health: &spec.Health{Interval: 9}}, img)
	if want := (spec.Health{Test: []string{"CMD", "a"}, Interval: 9, Retries: 2}); !reflect.DeepEqual(*h, want) {
		t.Errorf("got %+v", *h)
	}
	if h := health(&spec.Container{Health: &spec.Health{Test: []string{"NONE"}}}, img); h != nil {
		t.Errorf("NONE: %+v", h)
	}
	if h := health(&spec.Container{}, &spec.ImageConfig{}); h != nil {
		t.Errorf("nothing: %+v", h)
	}
}

func TestParsePS(t *testing.T) {
	out := "UID   PID  PPID CMD\nroot  1 0 /sbin/init splash\nme   77 1 sh -c a  b\nme   78 77 sleep 5\n"
	titles, rows, err := parsePS(out, map[int]bool{77: true, 78: true})
	if err != nil || strings.Join(titles, ",") != "UID,PID,PPID,CMD" {
		t.Fatal(titles, err)
	}
	want := [][]string{{"me", "77", "1", "sh -c a b"}, {"me", "78", "77", "sleep 5"}}
	if !reflect.DeepEqual(rows, want) {
		t.Errorf("rows %q", rows)
	}
	if _, _, err := parsePS("USER CMD\n", nil); !errs.Is(err, errs.Invalid) {
		t.Errorf("without a PID column: %v", err)
	}
}

func BenchmarkList1000(b *testing.B) {
	base := b.TempDir()
	e, err := Open(b.Context(), Options{Dirs: dirs.Dirs{Data: base, Run: base}})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	db, err := e.db()
	if err != nil {
		b.Fatal(err)
	}
	for i := range 1000 {
		id, _ := anonymousName()
		c := &state.Container{ID: id, Name: fmt.Sprintf("n%d", i), Created: time.Now(), Image: "alpine", Command: []string{"sh", "-c", "sleep 1"},
			Labels: map[string]string{"a": "b"}, Networks: []string{"bridge"}, Record: lifecycle.Record{State: lifecycle.Exited}}
		if err := db.Insert(c, &state.Body{}, nil, state.Event{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for range b.N {
		if list, err := e.List(b.Context(), ListOptions{All: true}); err != nil || len(list) != 1000 {
			b.Fatal(len(list), err)
		}
	}
}

func TestAddDescendants(t *testing.T) {
	pids := map[int]bool{10: true}
	addDescendants(pids, map[int]int{1: 0, 2: 1, 10: 2, 11: 10, 12: 11, 20: 1, 30: 31, 31: 30})
	if want := (map[int]bool{10: true, 11: true, 12: true}); !maps.Equal(pids, want) {
		t.Errorf("%v", pids)
	}
}

// TestShortRuns: a run that begins and ends between two looks of someone who waits for the
// next exit is told all the same, at once, and to everyone who waits. The kernel takes
// 10 ms to close a watch, so 10 containers run beside each other.
func TestShortRuns(t *testing.T) {
	e, _ := testEngine(t)
	const containers, runs = 10, 100
	begin := time.Now()
	var wg sync.WaitGroup
	for i := range containers {
		row := stored(t, e, fmt.Sprint("short", i), lifecycle.Record{State: lifecycle.Created}, nil)
		wg.Go(func() {
			for run := 1; run <= runs; run++ {
				if err := shortRun(t.Context(), e, row.ID, run); err != nil {
					t.Errorf("run %d of %s: %v", run, row.Name, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if took := time.Since(begin); took > runs*lookEvery/3 {
		t.Errorf("%d runs of each took %s: nobody was told of their ends", runs, took)
	}
}

// shortRun lets two wait, leaves all that a monitor leaves of a run, and compares.
func shortRun(ctx context.Context, e *Engine, id string, run int) error {
	c, err := e.load(ctx, id)
	if err != nil {
		return err
	}
	const waiters = 2
	told := make(chan error, waiters)
	for range waiters {
		go func() {
			code, err := e.nextExit(ctx, c)
			if err == nil && code != 100+run {
				err = fmt.Errorf("exit code %d", code)
			}
			told <- err
		}()
	}
	if run%2 == 0 { // sometimes they are at their wait, sometimes at their first look
		time.Sleep(time.Millisecond)
	}
	now := time.Now()
	text, err := json.Marshal(monitor.Exit{Code: 100 + run, Run: run, StartedAt: now, FinishedAt: now})
	if err != nil {
		return err
	}
	tmp := filepath.Join(e.dirs.Container(id), "tmp")
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(e.dirs.Container(id), rundir.ExitFile)); err != nil {
		return err
	}
	return errors.Join(<-told, <-told)
}

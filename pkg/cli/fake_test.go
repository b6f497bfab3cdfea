// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor"
	"github.com/proa-containers/proa/pkg/rundir"
	"github.com/proa-containers/proa/pkg/spec"
)

const (
	webID = "c5c1c68c87ddaabbccddeeff00112233445566778899aabbccddeeff00112233"
	jobID = "eff7c92a1b98aabbccddeeff00112233445566778899aabbccddeeff00112233"
	imgID = "e21c333399e0aabbccddeeff00112233445566778899aabbccddeeff00112233"
)

// fakeEngine records the calls that change something and knows two containers
// and one image.
type fakeEngine struct {
	Engine
	mu    sync.Mutex
	calls []string // sorted where they come side by side
	err   error    // what the next call returns
}

func (f *fakeEngine) note(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
	return f.err
}

func (f *fakeEngine) Run(_ context.Context, c *spec.Container, o libpod.RunOptions) (string, error) {
	b, _ := json.Marshal(c)
	return webID, f.note("run detach=%v in=%v %s", o.Detach, o.Streams.In != nil, b)
}

func (f *fakeEngine) Create(_ context.Context, c *spec.Container, _ libpod.CreateOptions) (string, error) {
	b, _ := json.Marshal(c)
	return webID, f.note("create %s", b)
}

func (f *fakeEngine) known(ref string) error {
	for _, r := range []string{"web", "job", webID, jobID} {
		if r == ref {
			return nil
		}
	}
	return errs.New(errs.NotFound, "No such container: %s", ref)
}

func (f *fakeEngine) Remove(_ context.Context, ref string, o libpod.RemoveOptions) error {
	if err := f.known(ref); err != nil {
		return err
	}
	return f.note("rm %s force=%v volumes=%v", ref, o.Force, o.Volumes)
}

func (f *fakeEngine) Stop(_ context.Context, ref string, o libpod.StopOptions) error {
	t := "nil"
	if o.Timeout != nil {
		t = fmt.Sprint(*o.Timeout)
	}
	return f.note("stop %s %s %s", ref, t, o.Signal)
}

func (f *fakeEngine) Kill(_ context.Context, ref, signal string) error {
	return f.note("kill %s %s", ref, signal)
}

func (f *fakeEngine) Start(_ context.Context, ref string, o libpod.StartOptions) error {
	return f.note("start %s attach=%v", ref, o.Attach)
}

func (f *fakeEngine) Exec(_ context.Context, ref string, o libpod.ExecOptions) error {
	return f.note("exec %s %q env=%q tty=%v detach=%v in=%v", ref, o.Args, o.Env, o.TTY, o.Detach, o.Streams.In != nil)
}

func (f *fakeEngine) Logs(_ context.Context, ref string, o libpod.LogOptions, out, _ io.Writer) error {
	fmt.Fprintf(out, "line of %s\n", ref)
	return f.note("logs %s tail=%d follow=%v t=%v", ref, o.Tail, o.Follow, o.Timestamps)
}

func (f *fakeEngine) Wait(_ context.Context, ref string, conditions []string) (int, error) {
	return 7, f.note("wait %s %s", ref, strings.Join(conditions, ","))
}

func (f *fakeEngine) Ports(context.Context, string) ([]spec.Port, error) { return webPorts(), nil }

func webPorts() []spec.Port {
	return []spec.Port{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}, {HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: 53, ContainerPort: 53, Protocol: "udp"}}
}

func (f *fakeEngine) List(_ context.Context, o libpod.ListOptions) ([]libpod.Summary, error) {
	now := time.Now()
	web := libpod.Summary{ID: webID, Name: "web", Image: "nginx:alpine", ImageID: imgID, Command: []string{"/docker-entrypoint.sh", "nginx", "-g", "daemon off;"},
		Created: now.Add(-130 * time.Second), StartedAt: now.Add(-16 * time.Second), State: lifecycle.Running, PID: 4711,
		Ports: webPorts(), Labels: map[string]string{"tier": "front", "a": "b"}, Mounts: []string{"data", "/srv"}, Networks: []string{"bridge"}}
	job := libpod.Summary{ID: jobID, Name: "sample", Image: "alpine", ImageID: imgID, Command: []string{"/bin/sh"}, Created: now.Add(-3 * time.Minute),
		State: lifecycle.Exited, ExitCode: 3, FinishedAt: now.Add(-2 * time.Hour), StartedAt: now.Add(-3 * time.Hour)}
	switch {
	case o.Last == 1:
		return []libpod.Summary{web}, nil
	case o.All:
		return []libpod.Summary{web, job}, nil
	}
	return []libpod.Summary{web}, nil
}

func (f *fakeEngine) Inspect(_ context.Context, ref string) (*libpod.Details, error) {
	if err := f.known(ref); err != nil {
		return nil, err
	}
	started := time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC)
	return &libpod.Details{
		ID: webID, Name: "web", Created: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), State: lifecycle.Running, ImageName: "nginx:alpine",
		Command: []string{"nginx", "-g", "daemon off;"}, LogPath: "/log",
		Image: spec.ImageConfig{ID: imgID, Env: []string{"PATH=/bin", "A=1"}, ExposedPorts: []string{"80/tcp"}, Cmd: []string{"nginx"}, Labels: map[string]string{"l": "1"}},
		Spec: spec.Container{Image: "nginx:alpine", Process: spec.Process{Env: []string{"A=2"}, Attach: []string{"stdout"}},
			Network: spec.Network{Ports: []spec.Port{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}}}},
		Mounts: []libpod.MountPoint{{Type: spec.MountVolume, Name: "data", Source: "/vol/data/_data", Destination: "/data", Driver: "local", RW: true}},
		Status: &monitor.Status{Head: rundir.Head{State: rundir.StateRunning, PID: 4711}, StartedAt: started, Attachment: spec.Attachment{
			Mode: spec.NetBridge, Ports: []spec.Port{{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}},
			Interfaces: []spec.Interface{{Name: "eth0", Network: "bridge", MAC: "02:42:ac:11:00:02", Addrs: []netip.Prefix{netip.MustParsePrefix("172.17.0.2/16")},
				Gateways: []netip.Addr{netip.MustParseAddr("172.17.0.1")}}},
		}},
	}, nil
}

func (f *fakeEngine) Images(context.Context, libpod.ImageListOptions) ([]libpod.ImageSummary, error) {
	return []libpod.ImageSummary{
		{ID: imgID, Names: []string{"my-alpine:latest", "localhost:5000/my/alpine:1.0"}, RepoDigests: []string{"my-alpine@sha256:1234"}, Created: time.Now().Add(-70 * time.Second), Size: 5640000},
		{ID: jobID, Created: time.Now().Add(-6 * 7 * 24 * time.Hour), Size: 0},
	}, nil
}

func (f *fakeEngine) ImageInspect(_ context.Context, ref string) (*libpod.ImageDetails, error) {
	if ref != "my-alpine" {
		return nil, errs.New(errs.NotFound, "No such image: %s", ref)
	}
	return &libpod.ImageDetails{ImageSummary: libpod.ImageSummary{ID: imgID, Names: []string{"my-alpine:latest"}}, OS: "linux", Architecture: "amd64",
		Config: spec.ImageConfig{Volumes: []string{"/data/db"}}}, nil
}

func (f *fakeEngine) ArtifactInspect(_ context.Context, ref string) (*libpod.Artifact, error) {
	return nil, errs.New(errs.NotFound, "%s: artifact does not exist", ref)
}

func (f *fakeEngine) VolumeInspect(_ context.Context, name string) (*libpod.Volume, error) {
	return nil, errs.New(errs.NotFound, "No such volume: %s", name)
}

// result is what one command line did.
type result struct {
	code        int
	out, errOut string
	calls       []string
}

// call runs one command line against f.
func (f *fakeEngine) call(stdin io.Reader, args ...string) result {
	var out, errOut bytes.Buffer
	std := Std{In: stdin, Out: &out, Err: &errOut, Dir: "/base", Lookup: func(k string) (string, bool) { return "val-" + k, k == "FROMHOST" }}
	f.calls = nil
	code := run(context.Background(), args, std, tree(), func(context.Context, *app) (any, error) { return f, nil })
	return result{code, out.String(), errOut.String(), f.calls}
}

func proa(args ...string) result { return new(fakeEngine).call(strings.NewReader(""), args...) }

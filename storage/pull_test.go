// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/proa-containers/proa/pkg/dirs"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/failpoint"
	"github.com/proa-containers/proa/pkg/spec"
)

func alpine(t testing.TB) [][]byte {
	return [][]byte{
		tarOf(t,
			entry{tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}, ""},
			entry{tar.Header{Name: "./bin/", Typeflag: tar.TypeDir, Mode: 0o755}, ""},
			file("./bin/busybox", "not really"),
			entry{tar.Header{Name: "./bin/sh", Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}, ""},
			file("./etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")),
		tarOf(t, file("etc/motd", "hello\n"), file("etc/.wh.passwd", "")),
	}
}

func TestPullPrintsDockersLines(t *testing.T) {
	srv := newRegistry(t)
	img := imageOf(t, alpine(t)...)
	push(t, hostOf(srv), "library/alpine:latest", img)
	s := newStore(t, hostOf(srv))
	var out lines
	got, err := s.Pull(context.Background(), "alpine", PullOptions{Progress: out.progress()})
	if err != nil {
		t.Fatal(err)
	}
	d, _ := img.Digest()
	ls, _ := img.Layers()
	l0, _ := ls[0].Digest()
	l1, _ := ls[1].Digest()
	want := fmt.Sprintf("latest: Pulling from library/alpine\n%.12s: Pull complete\n%.12s: Pull complete\n"+
		"Digest: %s\nStatus: Downloaded newer image for alpine:latest\n", l0.Hex, l1.Hex, d)
	if out.b.String() != want {
		t.Errorf("got\n%swant\n%s", out.b.String(), want)
	}
	conf, _ := img.ConfigName()
	if got.ID != conf.Hex {
		t.Errorf("id %s, want %s", got.ID, conf.Hex)
	}
	checkAlpine(t, s, got)

	var again lines
	if _, err := s.Pull(context.Background(), "alpine", PullOptions{Progress: again.progress()}); err != nil {
		t.Fatal(err)
	}
	want = fmt.Sprintf("latest: Pulling from library/alpine\nDigest: %s\nStatus: Image is up to date for alpine:latest\n", d)
	if again.b.String() != want {
		t.Errorf("got\n%swant\n%s", again.b.String(), want)
	}
}

func checkAlpine(t *testing.T, s *Store, img *Image) {
	t.Helper()
	if len(img.Lowers) != 2 {
		t.Fatalf("lowers %v", img.Lowers)
	}
	read := func(n int, name string) string {
		b, err := os.ReadFile(filepath.Join(s.Home(), img.Lowers[n], name))
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	if got := read(0, "etc/motd"); got != "hello\n" {
		t.Errorf("motd %q", got)
	}
	if got := read(1, "bin/sh"); got != "not really" {
		t.Errorf("sh %q", got)
	}
	fi, err := os.Lstat(filepath.Join(s.Home(), img.Lowers[0], "etc/passwd"))
	if err != nil || fi.Mode()&os.ModeCharDevice == 0 {
		t.Errorf("whiteout: %v %v", fi, err)
	}
	dir := t.TempDir()
	r, err := s.Rootfs(img, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{r.Upper, r.Work} {
		if _, err := os.Stat(p); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(r.Home, r.Lowers[0])); err != nil {
		t.Error(err)
	}
}

func TestResolve(t *testing.T) {
	srv := newRegistry(t)
	host := hostOf(srv)
	img := imageOf(t, alpine(t)...)
	push(t, host, "library/alpine:latest", img)
	push(t, host, "library/alpine:3.5", img)
	push(t, host, "org/web:1.0", imageOf(t, tarOf(t, file("a", "b"))))
	s := newStore(t, host)
	ctx := context.Background()
	for _, n := range []string{"alpine", "alpine:3.5", "org/web:1.0"} {
		if _, err := s.Pull(ctx, n, PullOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	d, _ := img.Digest()
	id, _ := img.ConfigName()
	for _, n := range []string{
		"alpine", "alpine:latest", "library/alpine", "docker.io/alpine", "docker.io/library/alpine:latest", "alpine:3.5",
		"alpine@" + d.String(), "alpine:whatever@" + d.String(), id.Hex, id.String(), id.Hex[:12], id.Hex[:3], "sha256:" + id.Hex[:8],
	} {
		got, err := s.Resolve(n)
		if err != nil {
			t.Errorf("%s: %v", n, err)
		} else if got.ID != id.Hex {
			t.Errorf("%s: got %s", n, got.ID)
		}
	}
	for _, n := range []string{"alpin", "alpine:3", "quay.io/alpine", "org/web", "alpine@sha256:" + strings.Repeat("0", 64)} {
		if got, err := s.Resolve(n); !errs.Is(err, errs.NotFound) {
			t.Errorf("%s: %v %v", n, got, err)
		}
	}
	if _, err := s.Resolve("Alpine"); !errs.Is(err, errs.Invalid) {
		t.Errorf("upper case: %v", err)
	}
	list, err := s.List()
	if err != nil || len(list) != 2 {
		t.Errorf("list %v %v", list, err)
	}
}

func TestReadingAnEmptyStoreWritesNothing(t *testing.T) {
	s := newStore(t, "")
	if _, err := s.Resolve("alpine"); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	if l, err := s.List(); err != nil || len(l) != 0 {
		t.Error(l, err)
	}
	if _, err := os.Stat(s.root); !os.IsNotExist(err) {
		t.Error("the store was created", err)
	}
}

func TestPullPolicies(t *testing.T) {
	srv := newRegistry(t)
	push(t, hostOf(srv), "library/alpine:latest", imageOf(t, alpine(t)...))
	s := newStore(t, hostOf(srv))
	ctx := context.Background()
	if _, err := s.Pull(ctx, "alpine", PullOptions{Policy: spec.PullNever}); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	if _, err := s.Pull(ctx, "alpine", PullOptions{Policy: spec.PullMissing}); err != nil {
		t.Fatal(err)
	}
	srv.Close()
	if _, err := s.Pull(ctx, "alpine", PullOptions{Policy: spec.PullMissing}); err != nil {
		t.Error(err)
	}
	if _, err := s.Pull(ctx, "alpine", PullOptions{}); !errs.Is(err, errs.Unavailable) {
		t.Error(err)
	}
}

// front answers some requests itself before the registry sees them.
func front(t *testing.T, srv *httptest.Server, answer func(w http.ResponseWriter, r *http.Request) bool) *httptest.Server {
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	f := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer(w, r) {
			return
		}
		r.URL.Scheme, r.URL.Host, r.RequestURI, r.Host = u.Scheme, u.Host, "", u.Host
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer res.Body.Close()
		for k, v := range res.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(res.StatusCode)
		buf := make([]byte, 32<<10)
		for {
			n, err := res.Body.Read(buf)
			if n > 0 {
				if _, err := w.Write(buf[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}))
	t.Cleanup(f.Close)
	return f
}

func TestPullErrors(t *testing.T) {
	srv := newRegistry(t)
	push(t, hostOf(srv), "library/alpine:latest", imageOf(t, alpine(t)...))
	s := newStore(t, hostOf(srv))
	ctx := context.Background()
	if _, err := s.Pull(ctx, "nosuch", PullOptions{}); !errs.Is(err, errs.NotFound) {
		t.Errorf("%v", err)
	}
	if _, err := s.Pull(ctx, "alpine:9", PullOptions{}); !errs.Is(err, errs.NotFound) || !strings.Contains(err.Error(), "manifest for alpine:9 not found") {
		t.Errorf("%v", err)
	}
	if _, err := s.Pull(ctx, "alpine", PullOptions{Platform: "linux/s390x"}); !errs.Is(err, errs.NotFound) {
		t.Errorf("%v", err)
	}
	locked := front(t, srv, func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	s = newStore(t, hostOf(locked))
	if _, err := s.Pull(ctx, "alpine", PullOptions{}); !errs.Is(err, errs.Unauthorized) || errs.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	noLeftovers(t, s)
}

func TestPullRetriesWhatMayPass(t *testing.T) {
	srv := newRegistry(t)
	push(t, hostOf(srv), "library/alpine:latest", imageOf(t, alpine(t)...))
	var manifests, blobs atomic.Int32
	flaky := front(t, srv, func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case strings.Contains(r.URL.Path, "/manifests/") && manifests.Add(1) <= 2:
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		case strings.Contains(r.URL.Path, "/blobs/") && blobs.Add(1) <= 2:
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
		return false
	})
	s := newStore(t, hostOf(flaky))
	if _, err := s.Pull(context.Background(), "alpine", PullOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestPullWaitsWhenToldTo(t *testing.T) {
	srv := newRegistry(t)
	push(t, hostOf(srv), "library/alpine:latest", imageOf(t, alpine(t)...))
	var n atomic.Int32
	busy := front(t, srv, func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/manifests/") && n.Add(1) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}
		return false
	})
	s := newStore(t, hostOf(busy))
	if _, err := s.Pull(context.Background(), "alpine", PullOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestPullRefusesWrongBytes(t *testing.T) {
	srv := newRegistry(t)
	img := imageOf(t, alpine(t)...)
	push(t, hostOf(srv), "library/alpine:latest", img)
	ls, _ := img.Layers()
	bad, _ := ls[0].Digest()
	evil := gz(tarOf(t, file("etc/passwd", "evil::0:0::/:/bin/sh\n")))
	for name, body := range map[string][]byte{"other bytes": evil, "no archive": []byte("short"), "nothing": nil} {
		t.Run(name, func(t *testing.T) {
			liar := front(t, srv, func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, bad.String()) {
					w.Write(body)
					return true
				}
				return false
			})
			s := newStore(t, hostOf(liar))
			_, err := s.Pull(context.Background(), "alpine", PullOptions{})
			if err == nil || !errs.Is(err, errs.Corrupt) {
				t.Errorf("got %v (%v)", err, errs.KindOf(err))
			}
			noLeftovers(t, s)
		})
	}
}

// noLeftovers asserts that nothing of a failed transfer is in the store, after
// the next writing call.
func noLeftovers(t *testing.T, s *Store) {
	t.Helper()
	if l, err := s.List(); err != nil || len(l) != 0 {
		t.Errorf("images %v %v", l, err)
	}
	o, err := s.begin(false)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := o.store.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		t.Errorf("layer %s is left", l.ID)
	}
	o.end(&err)
	for _, d := range []string{s.tmpDir(), filepath.Join(s.Home(), "staging")} {
		ents, _ := os.ReadDir(d)
		for _, e := range ents {
			t.Errorf("%s/%s is left", d, e.Name())
		}
	}
	ents, _ := os.ReadDir(s.Home())
	for _, e := range ents {
		switch e.Name() {
		case "l", "staging", "tempdirs", ".has-mount-program", "backingFsBlockDev":
		default:
			t.Errorf("%s is left in the overlay home", e.Name())
		}
	}
	links, _ := os.ReadDir(filepath.Join(s.Home(), "l"))
	for _, e := range links {
		t.Errorf("link %s is left", e.Name())
	}
}

// childMain is a pull in a process of its own, to be killed.
func childMain() int {
	s := Open(dirs.Dirs{Data: os.Getenv("PROA_TEST_DATA"), Run: os.Getenv("PROA_TEST_RUN")})
	var err error
	switch verb, what, _ := strings.Cut(os.Getenv("PROA_TEST_CHILD"), " "); verb {
	case "load":
		_, err = s.Load(context.Background(), LoadOptions{Path: what})
	case "rmi":
		_, err = s.Remove(context.Background(), what, RemoveOptions{})
	case "push":
		_, err = s.Push(context.Background(), what, PushOptions{})
	default:
		_, err = s.Pull(context.Background(), verb, PullOptions{})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		peak()
		return 1
	}
	peak()
	return 0
}

// peak prints how much memory this process needed at most. (What the kernel
// tells its parent begins with what the parent had.)
func peak() {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	line, _, _ := strings.Cut(rest, "\n")
	fmt.Println(strings.Fields(line)[0])
}

func child(s *Store, ref string, env ...string) *exec.Cmd {
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), "PROA_TEST_CHILD="+ref,
		"PROA_TEST_DATA="+filepath.Dir(s.root), "PROA_TEST_RUN="+filepath.Dir(s.run))
	c.Env = append(c.Env, env...)
	c.Stderr = os.Stderr
	return c
}

func TestKilledPullLeavesNothing(t *testing.T) {
	srv := newRegistry(t)
	push(t, hostOf(srv), "library/alpine:latest", imageOf(t, alpine(t)...))
	for _, fp := range []string{FailpointPullManifest, FailpointPullLayers, FailpointImageStored} {
		t.Run(fp, func(t *testing.T) {
			s := newStore(t, hostOf(srv))
			err := child(s, "alpine", failpoint.Env+"="+fp+"=kill").Run()
			var ee *exec.ExitError
			if !errors.As(err, &ee) || ee.ExitCode() != -1 {
				t.Fatalf("the child was not killed: %v", err)
			}
			noLeftovers(t, s)
			if _, err := s.Pull(context.Background(), "alpine", PullOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run(FailpointImageNamed, func(t *testing.T) {
		s := newStore(t, hostOf(srv))
		_ = child(s, "alpine", failpoint.Env+"="+FailpointImageNamed+"=kill").Run()
		img, err := s.Resolve("alpine")
		if err != nil {
			t.Fatal(err) // the image is complete, so the index must notice it
		}
		checkAlpine(t, s, img)
	})
}

func TestKilledPullInTheMiddleOfALayer(t *testing.T) {
	srv := newRegistry(t)
	big := tarOf(t, file("big", strings.Repeat("0123456789abcdef", 1<<20)))
	push(t, hostOf(srv), "library/alpine:latest", imageOf(t, alpine(t)[0], big))
	reached := make(chan struct{}, 8)
	slow := front(t, srv, func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			select {
			case reached <- struct{}{}:
			default:
			}
		}
		return false
	})
	s := newStore(t, hostOf(slow))
	for _, wait := range []time.Duration{0, 5, 10, 20, 30, 40, 60} {
		for len(reached) > 0 {
			<-reached
		}
		c := child(s, "alpine")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-reached:
		case <-time.After(10 * time.Second):
			t.Error("the pull asks for no blob")
		}
		time.Sleep(wait * time.Millisecond)
		_ = c.Process.Kill()
		if c.Wait() == nil {
			break // it was faster
		}
		if _, err := s.Resolve("alpine"); err == nil {
			break // it had just finished
		}
		noLeftovers(t, s)
	}
	if _, err := s.Pull(context.Background(), "alpine", PullOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestConcurrentPulls(t *testing.T) {
	srv := newRegistry(t)
	push(t, hostOf(srv), "library/alpine:latest", imageOf(t, alpine(t)...))
	push(t, hostOf(srv), "library/other:latest", imageOf(t, alpine(t)[0], tarOf(t, file("x", "y"))))
	s := newStore(t, hostOf(srv))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			ref := []string{"alpine", "other"}[i%2]
			if err := child(s, ref).Run(); err != nil {
				t.Errorf("%s: %v", ref, err)
			}
		}()
	}
	wg.Wait()
	img, err := s.Resolve("alpine")
	if err != nil {
		t.Fatal(err)
	}
	checkAlpine(t, s, img)
	if l, _ := s.List(); len(l) != 2 {
		t.Errorf("%d images", len(l))
	}
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

type row struct {
	name    string
	measure func(b *bench, name string) error
}

var rows = []row{
	{"run --rm --network none", measureRunNone},
	{"run --rm, default network", measureRunDefault},
	{"run --rm -p", measureRunPort},
	{"run -d, 100 containers", measureMany},
	{"exec", measureExec},
	{"ps", measurePS},
	{"version", measureVersion},
	{"parallel run", measureParallel},
	{"memory", measureMemory},
	{"port throughput", measureThroughput},
	{"system calls", measureCalls},
	{"pull, load, disk", measurePull},
	{"build, RUN", measureBuild},
	{"build, COPY", measureCopy},
	{"build, parallel stages", measureStages},
	{"images", measureImages},
}

// ratio reports a median against a peer's.
func (b *bench) ratio(row string, own, peer time.Duration, peerName string, limit float64) {
	r := float64(own) / float64(peer)
	b.report(row, fmt.Sprintf("<= %.2f x %s", limit, peerName), fmt.Sprintf("%.2f (%s / %s)", r, ms(own), ms(peer)), r <= limit)
}

func measureRunNone(b *bench, name string) error {
	args := []string{"run", "--rm", "--network", "none", image, "true"}
	m, err := b.alternate(timed{peer: b.proa, args: args}, timed{peer: b.podman, args: args}, b.crun())
	if err != nil {
		return err
	}
	b.ratio(name, m[0], m[1], "podman", 0.22)
	b.ratio(name, m[0], m[2], "crun run", 2)
	c, err := b.cpu(timed{peer: b.proa, args: args}, timed{peer: b.podman, args: args}, b.crun())
	if err != nil {
		return err
	}
	b.cpuLimit(name+", CPU", c[0], 26*time.Millisecond)
	b.ratio(name+", CPU", c[0], c[1], "podman", 0.22)
	b.ratio(name+", CPU", c[0], c[2], "crun run", 2.5)
	return nil
}

func measureRunDefault(b *bench, name string) error {
	for _, p := range []peer{b.proa, b.podman} {
		if _, err := p.do("run", "-d", image, "sleep", "1000"); err != nil {
			return err
		}
	}
	args := []string{"run", "--rm", image, "true"}
	m, err := b.alternate(timed{peer: b.proa, args: args}, timed{peer: b.podman, args: args})
	if err != nil {
		return err
	}
	b.ratio(name, m[0], m[1], "podman", 0.22)
	return nil
}

func measureRunPort(b *bench, name string) error {
	for _, p := range []peer{b.proa, b.podman} {
		if _, err := p.do("run", "-d", image, "sleep", "1000"); err != nil {
			return err
		}
	}
	own, other := []string{"run", "--rm", "-p", "38080:80", image, "true"}, []string{"run", "--rm", "-p", "38081:80", image, "true"}
	m, err := b.alternate(timed{peer: b.proa, args: own}, timed{peer: b.podman, args: other})
	if err != nil {
		return err
	}
	b.ratio(name, m[0], m[1], "podman", 0.22)
	return nil
}

func measureExec(b *bench, name string) error {
	for _, p := range []peer{b.proa, b.podman} {
		if _, err := p.do("run", "-d", "--name", "x", "--network", "none", image, "sleep", "1000"); err != nil {
			return err
		}
	}
	stop, err := b.crunInBackground("x")
	if err != nil {
		return err
	}
	defer stop()
	args := []string{"exec", "x", "true"}
	cols := []timed{{peer: b.proa, args: args}, {peer: b.podman, args: args}, {peer: b.crunPeer(), args: args}}
	m, err := b.alternate(cols...)
	if err != nil {
		return err
	}
	b.ratio(name, m[0], m[1], "podman", 0.25)
	b.ratio(name, m[0], m[2], "crun exec", 1.12)
	c, err := b.cpu(cols...)
	if err != nil {
		return err
	}
	b.cpuLimit(name+", CPU", c[0], 6*time.Millisecond)
	b.ratio(name+", CPU", c[0], c[2], "crun exec", 1.5)
	return nil
}

// measureMany starts 100 containers one after the other, and removes them.
func measureMany(b *bench, name string) error {
	began := time.Now()
	for range 100 {
		if _, err := b.proa.once("run", "-d", "--network", "none", image, "sleep", "1000"); err != nil {
			return err
		}
	}
	started := time.Now()
	if _, err := b.proa.once("rm", "-af"); err != nil {
		return err
	}
	start, remove := started.Sub(began), time.Since(started)
	b.report(name, "<= 3 s", ms(start), start <= 3*time.Second)
	b.report("rm -af of them", "<= 1 s", ms(remove), remove <= time.Second)
	return nil
}

func measurePS(b *bench, name string) error {
	for _, p := range []peer{b.proa, b.podman} {
		for range 5 {
			if _, err := p.do("create", "--network", "none", image, "true"); err != nil {
				return err
			}
		}
	}
	args := []string{"ps", "-a"}
	five, err := b.alternate(timed{peer: b.proa, args: args}, timed{peer: b.podman, args: args})
	if err != nil {
		return err
	}
	b.ratio("ps, 5 containers", five[0], five[1], "podman", 0.5)
	c, err := b.cpu(timed{peer: b.proa, args: args}, timed{peer: hello})
	if err != nil {
		return err
	}
	b.ratio("ps, 5 containers, CPU", c[0], c[1], "a program that prints a line", 4)
	for range 995 {
		if _, err := b.proa.do("create", "--network", "none", image, "true"); err != nil {
			return err
		}
	}
	many, err := b.alternate(timed{peer: b.proa, args: args}, timed{peer: b.podman, args: args})
	if err != nil {
		return err
	}
	b.ratio("ps, 1000 containers (podman: 5)", many[0], many[1], "podman", 0.5)
	b.ratio("ps, 1000 containers", many[0], five[0], "ps of 5", 2)
	return nil
}

func measureVersion(b *bench, name string) error {
	m, err := b.alternate(timed{peer: b.proa, args: []string{"version"}}, timed{peer: b.podman, args: []string{"version"}})
	if err != nil {
		return err
	}
	b.report(name, "<= 10 ms", fmt.Sprintf("%s (podman %s)", ms(m[0]), ms(m[1])), m[0] <= 10*time.Millisecond)
	c, err := b.cpu(timed{peer: b.proa, args: []string{"version"}}, timed{peer: hello})
	if err != nil {
		return err
	}
	b.ratio(name+", CPU", c[0], c[1], "a program that prints a line", 2.5)
	for _, line := range b.slowestInits() {
		b.report("  init", "", line, true)
	}
	return nil
}

var initLine = regexp.MustCompile(`^init (\S+) @\S+ ms, (\S+) ms clock, (\d+) bytes (\d+) allocs`)

// slowestInits are the five packages whose initialisation takes longest.
func (b *bench) slowestInits() []string {
	cmd := b.proa.cmd("version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, _ := cmd.CombinedOutput()
	type cost struct {
		pkg string
		ms  float64
		mem string
	}
	var costs []cost
	for line := range strings.Lines(string(out)) {
		if m := initLine.FindStringSubmatch(line); m != nil {
			v, _ := strconv.ParseFloat(m[2], 64)
			costs = append(costs, cost{m[1], v, m[3]})
		}
	}
	sort.Slice(costs, func(i, j int) bool { return costs[i].ms > costs[j].ms })
	var lines []string
	for i := 0; i < len(costs) && i < 5; i++ {
		lines = append(lines, fmt.Sprintf("%.3f ms, %s bytes: %s", costs[i].ms, costs[i].mem, costs[i].pkg))
	}
	return lines
}

// hello is the least that a Go program costs.
var hello = peer{name: "hello", argv: []string{"hello"}}

// rate runs the command 48 times, p at once, and returns runs per second.
func rate(p peer, parallel int, args func(i int) []string) (float64, error) {
	const total = 48
	jobs := make(chan int, total)
	for i := range total {
		jobs <- i
	}
	close(jobs)
	var wg sync.WaitGroup
	errs := make(chan error, total)
	began := time.Now()
	for range parallel {
		wg.Go(func() {
			for i := range jobs {
				if _, err := p.once(args(i)...); err != nil {
					errs <- err
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	select {
	case err := <-errs:
		return 0, err
	default:
		return total / took.Seconds(), nil
	}
}

func measureParallel(b *bench, name string) error {
	run := func(int) []string { return []string{"run", "--rm", "--network", "none", image, "true"} }
	bare := func(i int) []string { return []string{"run", "--bundle", b.bundle(), fmt.Sprintf("bench%d", i)} }
	var own4, own16, other4, crun4 []float64
	for range 5 {
		for _, m := range []struct {
			peer peer
			p    int
			args func(int) []string
			to   *[]float64
		}{{b.proa, 4, run, &own4}, {b.podman, 4, run, &other4}, {b.crunPeer(), 4, bare, &crun4}, {b.proa, 16, run, &own16}} {
			r, err := rate(m.peer, m.p, m.args)
			if err != nil {
				return err
			}
			*m.to = append(*m.to, r)
		}
	}
	a, p, c, d := median(own4), median(other4), median(own16), median(crun4)
	b.report(name+", P=4", ">= 5 x podman", fmt.Sprintf("%.1f (%.1f/s / %.1f/s)", a/p, a, p), a/p >= 5)
	b.report(name+", P=4", ">= 0.45 x crun run", fmt.Sprintf("%.2f (%.1f/s / %.1f/s)", a/d, a, d), a/d >= 0.45)
	// Two measurements of one rate differ by some percent.
	b.report(name+", P=16", ">= P=4", fmt.Sprintf("%.1f/s / %.1f/s", c, a), c >= 0.97*a)
	return nil
}

// measureMemory starts ten idle containers with a published port each and adds
// up what all of Proa's processes use.
func measureMemory(b *bench, name string) error {
	for i := range 10 {
		if _, err := b.proa.do("run", "-d", "-p", fmt.Sprintf("%d:80", 38100+i), image, "sleep", "1000"); err != nil {
			return err
		}
	}
	time.Sleep(2 * time.Second)
	total, parts, err := pss(`(^|/)(proa|proa-monitor|slirp4netns|pasta|fuse-overlayfs)( |$)`)
	if err != nil {
		return err
	}
	each := float64(total) / 10 / 1000
	b.report(name+", per idle container with a port, at ten", "<= 2.0 MB PSS", fmt.Sprintf("%.2f MB (%s)", each, parts), each <= 2)
	return nil
}

// pss adds up, in kB, the processes of this user whose command line matches.
func pss(pattern string) (total int, parts string, err error) {
	re := regexp.MustCompile(pattern)
	byName := map[string][2]int{}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, "", err
	}
	for _, d := range dirs {
		cmd, err := os.ReadFile(d + "/cmdline")
		if err != nil || !re.MatchString(strings.ReplaceAll(string(cmd), "\x00", " ")) {
			continue
		}
		data, err := os.ReadFile(d + "/smaps_rollup")
		if err != nil {
			continue // another user's
		}
		for line := range strings.Lines(string(data)) {
			if f := strings.Fields(line); len(f) == 3 && f[0] == "Pss:" {
				kb, _ := strconv.Atoi(f[1])
				name := filepath.Base(strings.Split(string(cmd), "\x00")[0])
				v := byName[name]
				byName[name] = [2]int{v[0] + 1, v[1] + kb}
				total += kb
			}
		}
	}
	var list []string
	for name, v := range byName {
		list = append(list, fmt.Sprintf("%d %s %d kB", v[0], name, v[1]))
	}
	sort.Strings(list)
	if total == 0 {
		return 0, "", fmt.Errorf("no process found")
	}
	return total, strings.Join(list, ", "), nil
}

func measureThroughput(b *bench, name string) error {
	const ownPort, otherPort = 38201, 38202
	if _, err := b.proa.do("run", "-d", "-p", fmt.Sprintf("%d:5201", ownPort), image, "iperf3", "-s"); err != nil {
		return err
	}
	if _, err := b.podman.do("run", "-d", "-p", fmt.Sprintf("%d:5201", otherPort), image, "iperf3", "-s"); err != nil {
		return err
	}
	for _, p := range []int{ownPort, otherPort} {
		if err := waitPort(p); err != nil {
			return err
		}
	}
	var own, other []float64
	for range 5 {
		for _, m := range []struct {
			port int
			to   *[]float64
		}{{ownPort, &own}, {otherPort, &other}} {
			g, err := iperf(m.port)
			if err != nil {
				return err
			}
			*m.to = append(*m.to, g)
		}
	}
	o, p := median(own), median(other)
	b.report(name+", one TCP stream", ">= 0.80 x podman", fmt.Sprintf("%.2f (%.1f / %.1f Gbit/s)", o/p, o, p), o/p >= 0.8)
	return nil
}

func waitPort(port int) error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
			time.Sleep(500 * time.Millisecond) // iperf3 serves one client at a time
			return nil
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

// iperf sends for two seconds and returns what arrived, in Gbit/s.
func iperf(port int) (float64, error) {
	out, err := exec.Command("iperf3", "-c", "127.0.0.1", "-p", strconv.Itoa(port), "-t", "2", "-J").Output()
	if err != nil {
		return 0, fmt.Errorf("iperf3: %w: %s", err, out)
	}
	var r struct {
		End struct {
			SumReceived struct {
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return 0, err
	}
	return r.End.SumReceived.BitsPerSecond / 1e9, nil
}

// measureCalls counts programs and fsyncs of one warm run. hack/bench/run does
// the tracing, as root.
func measureCalls(b *bench, name string) error {
	if b.strace == "" {
		return fmt.Errorf("no tracer")
	}
	if _, err := b.proa.do("run", "-d", "--network", "none", image, "sleep", "1000"); err != nil {
		return err
	}
	argv := append([]string{}, "proa", "run", "--rm", "--network", "none", image, "/bin/true")
	tmp := b.strace + ".request.part"
	if err := os.WriteFile(tmp, []byte(strings.Join(argv, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	if err := os.Rename(tmp, b.strace+".request"); err != nil {
		return err
	}
	var data []byte
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		var err error
		if data, err = os.ReadFile(b.strace + ".done"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no trace within a minute")
		}
	}
	programs, syncs := countCalls(string(data))
	b.report("programs executed, warm run (container's own not counted)", "<= 3", fmt.Sprintf("%d: %s", len(programs), strings.Join(programs, ", ")), len(programs) <= 3)
	b.report("fsyncs, warm run", "<= 2", strconv.Itoa(syncs), syncs <= 2)
	return nil
}

var execCall = regexp.MustCompile(`execve\("([^"]*)"`)

func countCalls(trace string) (programs []string, syncs int) {
	for line := range strings.Lines(trace) {
		switch {
		case strings.Contains(line, "execve(") && !strings.Contains(line, "= -1"):
			m := execCall.FindStringSubmatch(line)
			if m != nil && m[1] != "/bin/true" {
				programs = append(programs, filepath.Base(m[1]))
			}
		case strings.Contains(line, "sync(") && !strings.Contains(line, "resumed"):
			syncs++
		}
	}
	return programs, syncs
}

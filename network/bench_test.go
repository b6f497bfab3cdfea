// SPDX-License-Identifier: Apache-2.0

package network

import (
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/proa-containers/proa/network/netns"
	"github.com/proa-containers/proa/pkg/spec"
)

// BenchmarkAttach is what a further container on a bridge costs.
func BenchmarkAttach(b *testing.B) {
	w := newWorld(b)
	w.ensure()
	w.attach(w.plan("first"))
	for b.Loop() {
		b.StopTimer()
		p := w.plan("x")
		p.Ports = []spec.Port{{ContainerPort: 80, Protocol: "tcp"}}
		b.StartTimer()
		x := w.attach(p)
		b.StopTimer()
		x.end()
		b.StartTimer()
	}
}

// BenchmarkEnsure is what the first container on a bridge waits for.
func BenchmarkEnsure(b *testing.B) {
	w := newWorld(b)
	for b.Loop() {
		w.ensure().Close()
	}
}

// BenchmarkConnect is one connection to a published port, opened and closed.
func BenchmarkConnect(b *testing.B) {
	w := newWorld(b)
	w.ensure()
	p := w.plan("echo")
	p.Ports = []spec.Port{{ContainerPort: 80, Protocol: "tcp"}}
	a := w.attach(p)
	listen(b, a.ns, ":80")
	addr := "127.0.0.1:" + strconv.Itoa(int(a.Attachment().Ports[0].HostPort))
	for b.Loop() {
		if _, err := ask(b, nil, addr); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkThroughput is one stream of iperf3 into a container, by a published
// port and, for comparison, by the uplink outwards.
func BenchmarkThroughput(b *testing.B) {
	if _, err := exec.LookPath("iperf3"); err != nil {
		b.Fatal("iperf3 is not installed: apt-get install iperf3")
	}
	for _, reverse := range []bool{false, true} {
		name := "in"
		if reverse {
			name = "out"
		}
		b.Run(name, func(b *testing.B) { throughput(b, reverse) })
	}
}

func throughput(b *testing.B, reverse bool) {
	w := newWorld(b)
	w.ensure()
	p := w.plan("iperf")
	p.Ports = []spec.Port{{ContainerPort: 5201, Protocol: "tcp"}}
	a := w.attach(p)
	server := exec.Command("iperf3", "-s")
	if err := netns.Do(func(int) error { return server.Start() }, a.ns); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	time.Sleep(200 * time.Millisecond)
	args := []string{"-J", "-t", "3", "-c", "127.0.0.1", "-p", strconv.Itoa(int(a.Attachment().Ports[0].HostPort))}
	if reverse {
		args = append(args, "-R")
	}
	for b.Loop() {
		cmd := exec.Command("iperf3", args...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			b.Fatal(err, string(out))
		}
		var r struct {
			End struct {
				Received struct {
					Rate float64 `json:"bits_per_second"`
				} `json:"sum_received"`
			} `json:"end"`
		}
		if err := json.Unmarshal(out, &r); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(r.End.Received.Rate/1e9, "Gbit/s")
	}
}

// SPDX-License-Identifier: Apache-2.0

package output

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	units "github.com/docker/go-units"

	"github.com/proa-containers/proa/libpod"
	"github.com/proa-containers/proa/libpod/dockerdoc"
	"github.com/proa-containers/proa/libpod/lifecycle"
	"github.com/proa-containers/proa/pkg/spec"
)

// ContainerRow is one container as ps shows it; the fields are the
// placeholders of --format.
type ContainerRow struct {
	Command      string
	CreatedAt    string
	ExitCode     string
	ID           string
	Image        string
	ImageID      string
	Labels       string
	LocalVolumes string
	Mounts       string
	Names        string
	Networks     string
	Pid          string
	Ports        string
	RunningFor   string
	Size         string
	State        string
	Status       string

	labels map[string]string
	header bool
}

// Label is the placeholder {{.Label "name"}}.
func (r *ContainerRow) Label(name string) string {
	if r.header {
		i := strings.LastIndexByte(name, '.')
		return strings.NewReplacer("-", " ", "_", " ").Replace(name[i+1:])
	}
	return r.labels[name]
}

// ContainerHeader holds the titles of the columns of ps.
func ContainerHeader() *ContainerRow {
	return &ContainerRow{Command: "COMMAND", CreatedAt: "CREATED AT", ExitCode: "EXIT CODE", ID: "CONTAINER ID", Image: "IMAGE", ImageID: "IMAGE ID",
		Labels: "LABELS", LocalVolumes: "LOCAL VOLUMES", Mounts: "MOUNTS", Names: "NAMES", Networks: "NETWORKS", Pid: "PID",
		Ports: "PORTS", RunningFor: "CREATED", Size: "SIZE", State: "STATE", Status: "STATUS", header: true}
}

// ContainerColumns is the default table of ps.
func ContainerColumns(size bool) []string {
	c := []string{"ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"}
	if size {
		c = append(c, "Size")
	}
	return c
}

// Container makes the row of one container.
func Container(s *libpod.Summary, now time.Time, noTrunc bool) *ContainerRow {
	r := &ContainerRow{
		ID: s.ID, Image: s.Image, ImageID: s.ImageID, Names: s.Name, Command: commandLine(s.Command, noTrunc),
		CreatedAt: s.Created.Local().Format("2006-01-02 15:04:05 -0700 MST"), RunningFor: Ago(now, s.Created),
		State: string(s.State), Status: Status(s, now), Ports: Ports(s.Ports, s.Exposed),
		Labels: labelList(s.Labels), Networks: strings.Join(s.Networks, ","),
		ExitCode: strconv.Itoa(s.ExitCode), Pid: strconv.Itoa(s.PID),
		Size: "0B", labels: s.Labels,
	}
	if s.SizeRw > 0 {
		r.Size = Size(s.SizeRw)
	}
	if s.SizeRoot > 0 {
		r.Size += " (virtual " + Size(s.SizeRoot) + ")"
	}
	mounts, local := []string{}, 0
	for _, m := range s.Mounts {
		if !strings.HasPrefix(m, "/") {
			local++
		}
		if !noTrunc {
			m = ellipsis(m, 15)
		}
		mounts = append(mounts, m)
	}
	r.Mounts, r.LocalVolumes = strings.Join(mounts, ","), strconv.Itoa(local)
	if !noTrunc {
		r.ID = spec.ShortID(s.ID)
	}
	if r.Image == "" || strings.TrimPrefix(r.Image, "sha256:") == s.ImageID && !noTrunc {
		r.Image = spec.ShortID(s.ImageID)
	}
	return r
}

// commandLine quotes the process's command as Docker's ps does.
func commandLine(argv []string, noTrunc bool) string {
	parts := make([]string, len(argv))
	for i, a := range argv {
		if i > 0 && strings.Contains(a, " ") {
			a = "'" + a + "'"
		}
		parts[i] = a
	}
	s := strings.Join(parts, " ")
	if !noTrunc {
		s = ellipsis(s, 20)
	}
	return strconv.Quote(s)
}

// Status is Docker's sentence about a container's state.
func Status(s *libpod.Summary, now time.Time) string {
	if s.Host != "" {
		return state(s, now) + " (on " + s.Host + ")"
	}
	return state(s, now)
}

func state(s *libpod.Summary, now time.Time) string {
	up := "Up " + units.HumanDuration(now.Sub(s.StartedAt))
	switch s.State {
	case lifecycle.Running:
		switch s.Health {
		case "", "none":
			return up
		case "starting":
			return up + " (health: starting)"
		}
		return up + " (" + s.Health + ")"
	case lifecycle.Paused:
		return up + " (Paused)"
	case lifecycle.Restarting:
		return fmt.Sprintf("Restarting (%d) %s", s.ExitCode, Ago(now, s.FinishedAt))
	case lifecycle.Removing:
		return "Removal In Progress"
	case lifecycle.Dead:
		return "Dead"
	case lifecycle.Exited:
		if s.FinishedAt.IsZero() {
			return fmt.Sprintf("Exited (%d)", s.ExitCode)
		}
		return fmt.Sprintf("Exited (%d) %s", s.ExitCode, Ago(now, s.FinishedAt))
	case lifecycle.Creating:
		return "Creating"
	}
	return "Created"
}

func labelList(m map[string]string) string {
	if len(m) == 0 {
		return ""
	}
	list := make([]string, 0, len(m))
	for k, v := range m {
		list = append(list, k+"="+v)
	}
	sort.Strings(list)
	return strings.Join(list, ",")
}

// binding is one line of `port`: a published port on one host address.
type binding struct {
	ip        string // with brackets for IPv6
	host, ctr uint16
	proto     string
}

// bindings spreads ports over the host addresses that they listen on.
func bindings(ports []spec.Port) []binding {
	var list []binding
	for _, p := range ports {
		for _, ip := range dockerdoc.HostIPs(p.HostIP) {
			list = append(list, binding{ip, p.HostPort, p.ContainerPort, p.Protocol})
		}
	}
	slices.SortStableFunc(list, func(a, b binding) int {
		return cmp.Or(cmp.Compare(a.ctr, b.ctr), cmp.Compare(a.proto, b.proto))
	})
	return list
}

// mapping is n bindings in a row.
type mapping struct {
	binding
	n uint16
}

// next is the binding that would make it longer.
func (m *mapping) next() binding { return binding{m.ip, m.host + m.n, m.ctr + m.n, m.proto} }

// Ports is the column of ps: neighbouring ports are shown as one range, first
// those that keep their number.
func Ports(ports []spec.Port, exposed []string) string {
	if len(ports) == 0 && len(exposed) == 0 {
		return ""
	}
	type run struct {
		ip, proto   string
		first, last uint16
	}
	var runs []*run
	var mapped []*mapping
	grow := func(ip, proto string, port uint16) {
		for _, r := range runs {
			if r.ip == ip && r.proto == proto && r.last+1 == port {
				r.last = port
				return
			}
		}
		runs = append(runs, &run{ip, proto, port, port})
	}
	for _, r := range exposedRanges(exposed) {
		runs = append(runs, &run{"", r.Protocol, r.First, r.Last})
	}
	for _, b := range bindings(ports) {
		if b.host != b.ctr {
			if i := slices.IndexFunc(mapped, func(m *mapping) bool { return m.next() == b }); i >= 0 {
				mapped[i].n++
			} else {
				mapped = append(mapped, &mapping{b, 1})
			}
			continue
		}
		grow(b.ip, b.proto, b.ctr)
	}
	var out []string
	for _, r := range runs {
		s := number(r.first)
		if r.last != r.first {
			s += "-" + number(r.last)
		}
		if r.ip != "" {
			s = r.ip + ":" + s + "->" + s
		}
		out = append(out, s+"/"+r.proto)
	}
	for _, m := range mapped {
		last := m.next()
		host, ctr := number(m.host), number(m.ctr)
		if m.n > 1 {
			host, ctr = host+"-"+number(last.host-1), ctr+"-"+number(last.ctr-1)
		}
		out = append(out, m.ip+":"+host+"->"+ctr+"/"+m.proto)
	}
	return strings.Join(out, ", ")
}

func number(n uint16) string { return strconv.Itoa(int(n)) }

// exposedRanges reads "80/tcp" and "8000-8005/tcp" in the order of their
// numbers.
func exposedRanges(exposed []string) []spec.PortRange {
	var list []spec.PortRange
	for _, e := range exposed {
		if r, ok := spec.ParsePortRange(e); ok {
			list = append(list, r)
		}
	}
	return spec.MergePorts(list)
}

// PortLines is what `port` prints: "80/tcp -> 0.0.0.0:8080", or only the
// address where one port was asked for ("80/tcp" or "80").
func PortLines(ports []spec.Port, only string) []string {
	num, proto, _ := strings.Cut(only, "/")
	if proto == "" {
		proto = "tcp"
	}
	var lines []string
	for _, b := range bindings(ports) {
		addr := fmt.Sprintf("%s:%d", b.ip, b.host)
		if only == "" {
			lines = append(lines, fmt.Sprintf("%d/%s -> %s", b.ctr, b.proto, addr))
		} else if strconv.Itoa(int(b.ctr)) == num && b.proto == proto {
			lines = append(lines, addr)
		}
	}
	return lines
}

// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"reflect"
	"testing"

	"github.com/proa-containers/proa/libpod/state"
	"github.com/proa-containers/proa/pkg/spec"
)

func TestOwnChanges(t *testing.T) {
	for name, c := range map[string]struct{ in, want []Change }{
		"only what a start makes": {[]Change{{"C", "/etc"}, {"A", "/etc/hosts"}, {"A", "/etc/resolv.conf"}, {"A", "/proc"}, {"A", "/dev"}, {"A", "/dev/pts"}}, nil},
		"a file beside":           {[]Change{{"C", "/etc"}, {"A", "/etc/hosts"}, {"A", "/etc/mine"}}, []Change{{"C", "/etc"}, {"A", "/etc/mine"}}},
		"a file below":            {[]Change{{"C", "/etc"}, {"A", "/etc/hosts"}, {"A", "/etc/d"}, {"A", "/etc/d/f"}}, []Change{{"C", "/etc"}, {"A", "/etc/d"}, {"A", "/etc/d/f"}}},
		"a name that begins so":   {[]Change{{"A", "/devices"}, {"D", "/etc/hosts.allow"}}, []Change{{"A", "/devices"}, {"D", "/etc/hosts.allow"}}},
		"a directory on its own":  {[]Change{{"C", "/etc"}}, []Change{{"C", "/etc"}}},
	} {
		if got := ownChanges(c.in); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestCommittedConfig(t *testing.T) {
	entry := []string{"/e"}
	b := &state.Body{
		Image: spec.ImageConfig{User: "1", Env: []string{"A=1", "B=1"}, Entrypoint: []string{"/old"}, Cmd: []string{"old"}, WorkingDir: "/w", Volumes: []string{"/data"},
			ExposedPorts: []string{"80/tcp"}, Labels: map[string]string{"l": "1"}},
		Spec: spec.Container{Labels: map[string]string{"m": "2"}, Process: spec.Process{Entrypoint: &entry, Env: []string{"B=2"}, Dir: "/x"},
			Network: spec.Network{Ports: []spec.Port{{HostPort: 8053, ContainerPort: 53, Protocol: "udp"}}}},
	}
	c := committedConfig(b, false)
	if c.User != "1" || c.WorkingDir != "/x" || !reflect.DeepEqual(c.Env, []string{"A=1", "B=2"}) || !reflect.DeepEqual(c.Entrypoint, entry) || c.Cmd != nil {
		t.Errorf("process: %+v", c.ImageConfig)
	}
	if len(c.Labels) != 2 || len(c.ExposedPorts) != 2 || len(c.Volumes) != 1 {
		t.Errorf("labels %v, ports %v, volumes %v", c.Labels, c.ExposedPorts, c.Volumes)
	}
	b.Spec.Process = spec.Process{Args: []string{"new"}}
	if c = committedConfig(b, false); !reflect.DeepEqual(c.Entrypoint, []string{"/old"}) || !reflect.DeepEqual(c.Cmd, []string{"new"}) {
		t.Errorf("arguments: %v %v", c.Entrypoint, c.Cmd)
	}
}

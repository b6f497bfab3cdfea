// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/proa-containers/proa/libpod/state"
	"github.com/proa-containers/proa/network/ipam"
	"github.com/proa-containers/proa/network/uplink"
	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/monitor/client"
	"github.com/proa-containers/proa/pkg/spec"
	"github.com/proa-containers/proa/rootless/cgroup"
	"github.com/proa-containers/proa/rootless/userns"
)

// networkConfig is what a network's record holds beside its name.
type networkConfig struct {
	Driver   string            `json:"driver"` // bridge
	Subnets  []netip.Prefix    `json:"subnets"`
	Gateways []netip.Addr      `json:"gateways"`
	Internal bool              `json:"internal,omitempty"`
	MTU      int               `json:"mtu,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
}

// defaultNetwork is the network that containers are on without --network.
const defaultNetwork = "bridge"

// network reads a network's record; the default one is made at its first use.
func (e *Engine) network(name string) (*networkConfig, error) {
	db, err := e.db()
	if err != nil {
		return nil, err
	}
	for range 3 {
		n, err := db.Network(name)
		if err != nil {
			return nil, err
		}
		if n != nil {
			c := &networkConfig{}
			return c, errs.Wrap(json.Unmarshal(n.Config, c), "read network", name)
		}
		if name != defaultNetwork {
			break
		}
		if err := e.makeDefaultNetwork(db); err != nil {
			return nil, err
		}
	}
	return nil, errs.WithHint(errs.New(errs.NotFound, "network %s not found", name), "leave out --network, or use %s, host or none", defaultNetwork)
}

func (e *Engine) makeDefaultNetwork(db *state.DB) error {
	used, err := uplink.HostPrefixes()
	if err != nil {
		return err
	}
	subnet, err := ipam.FreeSubnet(used)
	if err != nil {
		return err
	}
	b, err := json.Marshal(networkConfig{Driver: "bridge", Subnets: []netip.Prefix{subnet}, Gateways: []netip.Addr{ipam.Gateway(subnet)}})
	if err != nil {
		return err
	}
	id := sha256.Sum256([]byte(defaultNetwork))
	_, err = db.AddNetwork(&state.Network{Name: defaultNetwork, ID: hex.EncodeToString(id[:]), Created: time.Now().UTC(), Config: b})
	return err
}

// bridgeInterface is the bridge's name in the user's network namespace: at
// most 15 bytes.
func bridgeInterface(name string) string {
	if name == defaultNetwork {
		return "proa0"
	}
	sum := sha256.Sum256([]byte(name))
	return "br-" + hex.EncodeToString(sum[:])[:12]
}

// networkPlan resolves a container's network request against the user's
// networks.
func (e *Engine) networkPlan(_ context.Context, id string, b *state.Body, joinRun, hostname string) (spec.NetworkPlan, error) {
	n := &b.Spec.Network
	p := spec.NetworkPlan{Mode: n.Mode, ID: id, Name: b.Spec.Name, Hostname: hostname, Options: n.Options, Ports: n.Ports, DNS: n.DNS,
		JoinRunDir: joinRun, StateDir: e.dirs.Net()}
	if p.Mode == "" {
		p.Mode = spec.NetBridge
	}
	switch p.Mode {
	case spec.NetBridge:
	case spec.NetHost, spec.NetNone, spec.NetContainer:
		p.Ports = nil // as in Docker: nothing to publish, and no error
		return p, nil
	default:
		return p, nil
	}
	nets := n.Networks
	if len(nets) == 0 {
		nets = []spec.NetworkAttach{{Name: defaultNetwork}}
	}
	for _, a := range nets {
		c, err := e.network(a.Name)
		if err != nil {
			return p, err
		}
		p.Bridges = append(p.Bridges, spec.BridgePlan{Network: a.Name, Iface: bridgeInterface(a.Name), Subnets: c.Subnets, Gateways: c.Gateways,
			Internal: c.Internal, MTU: c.MTU, Names: true, Aliases: append([]string{id[:12]}, a.Aliases...), IP: a.IP, IP6: a.IP6, MAC: a.MAC})
	}
	return p, nil
}

// needsUplink reports whether the user's shared network must be up.
func needsUplink(n *spec.Network) bool { return n.Mode == "" || n.Mode == spec.NetBridge }

// netstackCommand is the hidden command that is the built-in network stack:
// the uplink's process becomes it where no helper program is installed, and
// monitors start it for --network netstack.
const netstackCommand = "__netstack"

// holdUplink finds or starts the uplink and keeps it until the monitor has a
// share of its own.
func (e *Engine) holdUplink(ctx context.Context, ns *userns.Namespace) (*uplink.Hold, error) {
	program, err := client.FindProgram()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var detached chan error // of the uplink from our cgroup, while it gets ready
	h, err := uplink.Ensure(ctx, uplink.Options{StateDir: e.dirs.Net(), Program: program, Netstack: []string{self, netstackCommand},
		Start: func(cmd *exec.Cmd) (int, error) {
			if cmd.SysProcAttr == nil {
				cmd.SysProcAttr = &syscall.SysProcAttr{}
			}
			cmd.SysProcAttr.Setsid = true // it outlives this command and its terminal
			child, err := ns.Start(cmd, userns.Options{NewMount: true})
			if err != nil {
				return 0, err
			}
			pid, err := child.Ready(ctx)
			if err == nil {
				detached = make(chan error, 1)
				go func() { detached <- cgroup.Detach(ctx, "uplink", pid) }()
			}
			return pid, err
		}})
	if detached != nil {
		// Without, it lasts no longer than the unit or session that we are in;
		// nothing to refuse a container for.
		<-detached
	}
	if err == nil && h.Info.Warning != "" {
		e.notice(h.Info.Warning)
	}
	return h, err
}

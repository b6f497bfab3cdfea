// SPDX-License-Identifier: Apache-2.0

package spec

import "net/netip"

// NetworkMode is the first word of --network.
type NetworkMode string

const (
	NetBridge      NetworkMode = "bridge" // the default bridge, or the user's networks in Networks
	NetHost        NetworkMode = "host"
	NetNone        NetworkMode = "none"
	NetContainer   NetworkMode = "container"
	NetPasta       NetworkMode = "pasta"
	NetSlirp4netns NetworkMode = "slirp4netns"
	NetNetstack    NetworkMode = "netstack"
)

// Network is everything the command line says about a container's network.
type Network struct {
	Mode       NetworkMode     `json:"mode,omitempty"`      // empty: NetBridge
	Container  string          `json:"container,omitempty"` // with NetContainer: name or id
	Options    []string        `json:"options,omitempty"`   // what follows "pasta:" or "slirp4netns:"
	Networks   []NetworkAttach `json:"networks,omitempty"`  // with NetBridge; empty: the network "bridge"
	Ports      []Port          `json:"ports,omitempty"`
	PublishAll bool            `json:"publishAll,omitempty"`
	Expose     []Port          `json:"expose,omitempty"`
	ExtraHosts []HostEntry     `json:"extraHosts,omitempty"`
	DNS        DNS             `json:"dns"`
	NoHosts    bool            `json:"noHosts,omitempty"`    // the image's own /etc/hosts stays
	NoHostname bool            `json:"noHostname,omitempty"` // and its /etc/hostname
}

// NetworkAttach is one --network NAME with its options.
type NetworkAttach struct {
	Name    string     `json:"name"`
	Aliases []string   `json:"aliases,omitempty"`
	IP      netip.Addr `json:"ip,omitzero"`
	IP6     netip.Addr `json:"ip6,omitzero"`
	MAC     string     `json:"mac,omitempty"`
}

// Port is one published (or exposed) port.
type Port struct {
	HostIP   netip.Addr `json:"hostIP,omitzero"` // zero: every address
	HostPort uint16     `json:"hostPort,omitempty"`
	// HostPortEnd lets the monitor choose a free port in HostPort-HostPortEnd
	// ("-p 8000-8010:80"); 0 or equal to HostPort: exactly HostPort. With
	// HostPort 0 any free port.
	HostPortEnd   uint16 `json:"hostPortEnd,omitempty"`
	ContainerPort uint16 `json:"containerPort"`
	Protocol      string `json:"protocol"` // tcp, udp or sctp
}

// HostEntry is one --add-host; IP "host-gateway" stands for the host.
type HostEntry struct {
	Name string `json:"name"`
	IP   string `json:"ip"`
}

// DNS overrides the resolver configuration. Empty slices: as the host.
type DNS struct {
	Servers []netip.Addr `json:"servers,omitempty"`
	Search  []string     `json:"search,omitempty"`
	Options []string     `json:"options,omitempty"`
}

// NetworkPlan is what libpod tells a monitor to set up: the request, resolved
// against the user's networks. The monitor hands it to the network package.
type NetworkPlan struct {
	Mode     NetworkMode  `json:"mode"`
	ID       string       `json:"id"`   // of the container
	Name     string       `json:"name"` // of the container: its first DNS name
	Hostname string       `json:"hostname,omitempty"`
	Options  []string     `json:"options,omitempty"`
	Bridges  []BridgePlan `json:"bridges,omitempty"` // eth0, eth1, ... in order
	Ports    []Port       `json:"ports,omitempty"`
	DNS      DNS          `json:"dns"`
	// JoinRunDir is, with NetContainer, the runtime directory of the container
	// whose network namespace is shared.
	JoinRunDir string `json:"joinRunDir,omitempty"`
	// StateDir is the user's shared network directory (dirs.Net).
	StateDir string `json:"stateDir,omitempty"`
}

// BridgePlan attaches the container to one bridge network.
type BridgePlan struct {
	Network  string         `json:"network"` // the network's name
	Iface    string         `json:"iface"`   // the bridge's interface name in the user's namespace
	Subnets  []netip.Prefix `json:"subnets"`
	Gateways []netip.Addr   `json:"gateways"` // one per subnet
	Internal bool           `json:"internal,omitempty"`
	MTU      int            `json:"mtu,omitempty"`
	Names    bool           `json:"names"` // answer names of this network
	Aliases  []string       `json:"aliases,omitempty"`
	IP       netip.Addr     `json:"ip,omitzero"` // zero: the next free one
	IP6      netip.Addr     `json:"ip6,omitzero"`
	MAC      string         `json:"mac,omitempty"`
}

// Attachment is what a container got: written to the monitor's status file and
// shown by inspect, ps and port.
type Attachment struct {
	Mode       NetworkMode `json:"mode"`
	Interfaces []Interface `json:"interfaces,omitempty"`
	Ports      []Port      `json:"ports,omitempty"` // with the host ports chosen
	// Nameservers and Search are what the container's resolv.conf says.
	Nameservers []netip.Addr `json:"nameservers,omitempty"`
	Search      []string     `json:"search,omitempty"`
	// HostGateway is the address at which the container reaches the host.
	HostGateway netip.Addr `json:"hostGateway,omitzero"`
}

// Interface is one network interface of a container.
type Interface struct {
	Name     string         `json:"name"` // eth0
	Network  string         `json:"network,omitempty"`
	MAC      string         `json:"mac,omitempty"`
	Addrs    []netip.Prefix `json:"addrs,omitempty"`
	Gateways []netip.Addr   `json:"gateways,omitempty"`
	Aliases  []string       `json:"aliases,omitempty"`
}

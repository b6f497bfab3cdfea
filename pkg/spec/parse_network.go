// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"net"
	"net/netip"
	"strings"
)

// NetworkFlags are the flags that together say which networks a container is
// on. IP, IP6, MAC and Aliases belong to the first network.
type NetworkFlags struct {
	Networks []string // --network
	IP       string
	IP6      string
	MAC      string
	Aliases  []string // --network-alias
}

const networkHint = "write --network NAME[:alias=A,ip=ADDRESS], bridge, host, none, container:NAME, pasta, slirp4netns or netstack"

// NetworkModes are the words of --network beside names of networks; a name follows the
// one that ends in a colon.
var NetworkModes = []string{string(NetBridge), string(NetHost), string(NetNone), string(NetContainer) + ":", string(NetPasta),
	string(NetSlirp4netns), string(NetNetstack)}

// ParseNetwork fills the mode and the networks of a Network.
func ParseNetwork(f NetworkFlags) (Network, error) {
	var n Network
	for _, v := range f.Networks {
		if err := n.addNetwork(v, len(f.Networks) > 1); err != nil {
			return Network{}, err
		}
	}
	if err := n.applyEndpoint(f); err != nil {
		return Network{}, err
	}
	return n, nil
}

// addNetwork takes one --network. Private modes stand alone.
func (n *Network) addNetwork(value string, several bool) error {
	name, rest, has := strings.Cut(value, ":")
	mode := NetworkMode(name)
	switch mode {
	case NetHost, NetNone, NetNetstack, NetPasta, NetSlirp4netns, NetContainer:
		if several {
			return invalid("give one --network, or only names of networks",
				"conflicting options: cannot attach both user-defined and non-user-defined network-modes")
		}
		return n.setPrivate(mode, rest, has)
	case "ns":
		return unsupported("use --network container:NAME", "network mode %q: a namespace given by path is not supported", value)
	case "":
		return invalid(networkHint, "network name is required")
	}
	a, err := parseAttach(value)
	if err != nil {
		return err
	}
	if a.Name == "default" || a.Name == "private" {
		a.Name = string(NetBridge)
	}
	for _, o := range n.Networks {
		if o.Name == a.Name {
			return invalid("name each network once", "network %q is specified multiple times", a.Name)
		}
	}
	n.Mode = NetBridge
	n.Networks = append(n.Networks, a)
	return nil
}

func (n *Network) setPrivate(mode NetworkMode, rest string, has bool) error {
	n.Mode = mode
	switch mode {
	case NetContainer:
		if rest == "" {
			return invalid("write --network container:NAME", "invalid container format container:<name|id>")
		}
		n.Container = rest
	case NetPasta, NetSlirp4netns:
		if rest != "" {
			n.Options = strings.Split(rest, ",")
		}
	default:
		if has {
			return invalid("write --network "+string(mode), "network mode %q takes no options", mode)
		}
	}
	return nil
}

// parseAttach reads podman's "NAME:alias=a,ip=..." and Docker's
// "name=NAME,alias=a,ip=...".
func parseAttach(value string) (NetworkAttach, error) {
	name, opts, _ := strings.Cut(value, ":")
	if strings.Contains(name, "=") {
		name, opts = "", value
	}
	a := NetworkAttach{Name: name}
	if opts != "" {
		fields, err := csvFields(opts)
		if err != nil {
			return a, err
		}
		for _, f := range fields {
			if err := a.setOption(f); err != nil {
				return a, err
			}
		}
	}
	if a.Name == "" {
		return a, invalid(networkHint, "network name is required: %q", value)
	}
	if !validName(a.Name) {
		return a, invalid("use letters, digits, dots, dashes and underscores", "invalid network name %q", a.Name)
	}
	return a, nil
}

func (a *NetworkAttach) setOption(field string) (err error) {
	key, val, ok := strings.Cut(field, "=")
	if !ok {
		return invalid(networkHint, "invalid key/value pair format in network options: %q", field)
	}
	switch strings.ToLower(key) {
	case "name":
		a.Name = val
	case "alias":
		a.Aliases = append(a.Aliases, val)
	case "ip":
		a.IP, err = parseIP4("ip", val)
	case "ip6":
		a.IP6, err = parseIP6("ip6", val)
	case "mac", "mac-address":
		a.MAC, err = parseMAC(val)
	case "driver-opt", "interface_name", "gw-priority", "host_interface_name", "bclim", "mode":
		return unsupported("omit it", "network option %q is not supported", key)
	default:
		return invalid(networkHint, "invalid field key %s", key)
	}
	return err
}

func (n *Network) applyEndpoint(f NetworkFlags) error {
	if f.IP == "" && f.IP6 == "" && f.MAC == "" && len(f.Aliases) == 0 {
		return nil
	}
	if n.Mode != "" && n.Mode != NetBridge {
		return invalid("choose a bridge network with --network NAME",
			"conflicting options: --ip, --ip6, --mac-address and --network-alias need a bridge network, not %q", n.Mode)
	}
	if len(n.Networks) == 0 {
		n.Networks = []NetworkAttach{{Name: string(NetBridge)}}
	}
	a := &n.Networks[0]
	a.Aliases = append(a.Aliases, f.Aliases...)
	var err error
	if f.IP != "" {
		if a.IP, err = parseIP4("--ip", f.IP); err != nil {
			return err
		}
	}
	if f.IP6 != "" {
		if a.IP6, err = parseIP6("--ip6", f.IP6); err != nil {
			return err
		}
	}
	if f.MAC != "" {
		a.MAC, err = parseMAC(f.MAC)
	}
	return err
}

func parseIP4(what, s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return a, invalid("write an address such as 172.18.0.5", "invalid IPv4 address for %s: %s", what, s)
	}
	return a, nil
}

func parseIP6(what, s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is6() || a.Zone() != "" {
		return a, invalid("write an address such as fd00::5", "invalid IPv6 address for %s: %s", what, s)
	}
	return a, nil
}

func parseMAC(s string) (string, error) {
	m, err := net.ParseMAC(s)
	if err != nil || len(m) != 6 || m[0]&1 != 0 {
		return "", invalid("write a unicast address such as 02:42:ac:11:00:05", "%s is not a valid mac address", s)
	}
	return m.String(), nil
}

// ParseAddHost parses one --add-host: NAME[;NAME...]:IP, or NAME=IP. The IP
// may be "host-gateway", and IPv6 may stand in brackets.
func ParseAddHost(value string) ([]HostEntry, error) {
	const hint = "write --add-host NAME:ADDRESS, or NAME:host-gateway for this machine"
	names, ip, ok := strings.Cut(value, "=")
	if !ok {
		names, ip, ok = strings.Cut(value, ":")
	}
	if !ok || names == "" {
		return nil, invalid(hint, "bad format for add-host: %q", value)
	}
	if strings.HasPrefix(ip, "[") && strings.HasSuffix(ip, "]") {
		ip = ip[1 : len(ip)-1]
	}
	if ip != "host-gateway" {
		a, err := netip.ParseAddr(ip)
		if err != nil {
			return nil, invalid(hint, "invalid IP address in add-host: %q", ip)
		}
		ip = a.String()
	}
	var hosts []HostEntry
	for _, name := range strings.Split(names, ";") {
		if name == "" || strings.ContainsAny(name, " \t\n#") {
			return nil, invalid(hint, "bad format for add-host: %q", value)
		}
		hosts = append(hosts, HostEntry{Name: name, IP: ip})
	}
	return hosts, nil
}

// ParseDNS parses the values of --dns, --dns-search and --dns-option.
func ParseDNS(servers, search, options []string) (DNS, error) {
	d := DNS{Options: options}
	for _, s := range servers {
		a, err := netip.ParseAddr(strings.Trim(s, "[]"))
		if err != nil {
			return d, invalid("write --dns ADDRESS", "%s is not an ip address", s)
		}
		d.Servers = append(d.Servers, a)
	}
	for _, s := range search {
		if s == "." {
			d.Search = []string{}
			continue
		}
		if s = strings.TrimSpace(s); s == "" || len(s) > 255 || strings.ContainsAny(s, " \t\n/") {
			return d, invalid("write --dns-search DOMAIN, or --dns-search . for none", "%q is not a valid domain", s)
		}
		d.Search = append(d.Search, s)
	}
	for _, o := range options {
		if o == "" || strings.ContainsAny(o, " \t\n") {
			return d, invalid("write --dns-option ndots:2", "invalid resolver option %q", o)
		}
	}
	return d, nil
}

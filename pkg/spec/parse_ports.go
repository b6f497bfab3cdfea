// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"net/netip"
	"strconv"
	"strings"
)

const publishHint = "write [[IP:][HOSTPORT]:]PORT[/tcp|udp|sctp], as in 8080:80, 127.0.0.1:8080:80, [::1]:53:53/udp or 8000-8010:8000-8010"

// portRange is START or START-END.
type portRange struct{ start, end uint16 }

func (r portRange) size() int { return int(r.end) - int(r.start) + 1 }

// ParsePublish parses one -p value and expands its ranges: "8000-8002:80-82"
// is three ports, "8000-8010:80" is one whose host port is any of eleven.
func ParsePublish(value string) ([]Port, error) {
	rest, proto, err := splitProto(value)
	if err != nil {
		return nil, err
	}
	ip, host, ctr := splitPublish(rest)
	addr, err := parseHostIP(ip)
	if err != nil {
		return nil, err
	}
	if ctr == "" {
		return nil, invalid(publishHint, "no port specified: %s<empty>", value)
	}
	cr, ok := parsePortRange(ctr)
	if !ok || cr.start == 0 {
		return nil, invalid(publishHint, "invalid containerPort: %s", ctr)
	}
	var hr portRange
	if host != "" {
		if hr, ok = parsePortRange(host); !ok {
			return nil, invalid(publishHint, "invalid hostPort: %s", host)
		}
	}
	if host != "" && hr.size() != cr.size() && cr.size() != 1 {
		return nil, invalid("give both sides the same number of ports", "invalid ranges specified for container and host Ports: %s and %s", ctr, host)
	}
	return expandPorts(addr, host != "", hr, cr, proto), nil
}

func expandPorts(addr netip.Addr, fixed bool, hr, cr portRange, proto string) []Port {
	ports := make([]Port, 0, cr.size())
	for i := range cr.size() {
		p := Port{HostIP: addr, ContainerPort: cr.start + uint16(i), Protocol: proto}
		switch {
		case !fixed:
		case cr.size() == 1 && hr.size() > 1:
			p.HostPort, p.HostPortEnd = hr.start, hr.end
		default:
			p.HostPort = hr.start + uint16(i)
			if hr.start == 0 {
				p.HostPort = 0
			}
		}
		ports = append(ports, p)
	}
	return ports
}

// ParsePublishes parses all -p values; the same port given twice counts once.
func ParsePublishes(values []string) ([]Port, error) {
	var ports []Port
	seen := map[Port]bool{}
	for _, v := range values {
		ps, err := ParsePublish(v)
		if err != nil {
			return nil, err
		}
		for _, p := range ps {
			if !seen[p] || p.HostPort == 0 {
				ports = append(ports, p)
			}
			seen[p] = true
		}
	}
	return ports, nil
}

// ParseExpose parses one --expose value: PORT[-END][/proto].
func ParseExpose(value string) ([]Port, error) {
	const hint = "write PORT[-END][/tcp|udp|sctp]"
	if strings.Contains(value, ":") {
		return nil, invalid(hint, "invalid port format for --expose: %s", value)
	}
	rest, proto, err := splitProto(value)
	if err != nil {
		return nil, err
	}
	r, ok := parsePortRange(rest)
	if !ok || r.start == 0 {
		return nil, invalid(hint, "invalid range format for --expose: %s", value)
	}
	return expandPorts(netip.Addr{}, false, portRange{}, r, proto), nil
}

func splitProto(value string) (rest, proto string, err error) {
	rest, proto, has := strings.Cut(value, "/")
	if !has || proto == "" {
		return rest, "tcp", nil
	}
	proto = strings.ToLower(proto)
	switch proto {
	case "tcp", "udp", "sctp":
		return rest, proto, nil
	}
	return "", "", invalid("the protocol is tcp, udp or sctp", "invalid proto: %s", proto)
}

// splitPublish cuts at the last two colons, so that an IPv6 address keeps its
// own.
func splitPublish(s string) (ip, host, ctr string) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", "", s
	}
	s, ctr = s[:i], s[i+1:]
	i = strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", s, ctr
	}
	return s[:i], s[i+1:], ctr
}

func parseHostIP(s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	raw := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		s = s[1 : len(s)-1]
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, invalid(publishHint, "invalid IP address: %s", raw)
	}
	return a.Unmap(), nil
}

func parsePortRange(s string) (portRange, bool) {
	a, b, isRange := strings.Cut(s, "-")
	start, ok := parsePort(a)
	if !ok {
		return portRange{}, false
	}
	if !isRange {
		return portRange{start, start}, true
	}
	end, ok := parsePort(b)
	if !ok || end < start || (start == 0 && end != 0) {
		return portRange{}, false
	}
	return portRange{start, end}, true
}

func parsePort(s string) (uint16, bool) {
	if s == "" || s[0] == '+' || s[0] == '-' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil
}

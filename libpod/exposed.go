// SPDX-License-Identifier: Apache-2.0

package libpod

import (
	"slices"
	"strconv"

	"github.com/proa-containers/proa/pkg/errs"
	"github.com/proa-containers/proa/pkg/spec"
)

// imagePorts reads "80/tcp" and ranges like "8000-8005/udp"; what is neither is
// left out.
func imagePorts(img *spec.ImageConfig) []spec.PortRange {
	var list []spec.PortRange
	for _, x := range img.ExposedPorts {
		if r, ok := spec.ParsePortRange(x); ok {
			list = append(list, r)
		}
	}
	return spec.MergePorts(list)
}

// exposed lists the ports that the image or --expose name, published or not.
func exposed(c *spec.Container, img *spec.ImageConfig) []spec.PortRange {
	list := imagePorts(img)
	for _, p := range c.Network.Expose {
		list = append(list, spec.PortRange{First: p.ContainerPort, Last: p.ContainerPort, Protocol: protocolOf(p)})
	}
	return spec.MergePorts(list)
}

func portTexts(list []spec.PortRange) []string {
	var out []string
	for _, r := range list {
		out = append(out, r.String())
	}
	return out
}

// discardPorts handles published ports in networks that cannot publish, as Docker does:
// with another container's network they are an error; with host and none it drops them
// and warns the user.
func (e *Engine) discardPorts(n *spec.Network) error {
	if len(n.Ports) == 0 && !n.PublishAll {
		return nil
	}
	switch n.Mode {
	case spec.NetContainer:
		return errs.WithHint(errs.New(errs.Invalid, "conflicting options: port publishing and the container type network mode"),
			"publish the port on the container whose network this one shares")
	case spec.NetHost, spec.NetNone:
		e.warning("Published ports are discarded when using " + string(n.Mode) + " network mode")
		n.Ports, n.PublishAll = nil, false
	}
	return nil
}

// publish adds what -P publishes: every exposed port that -p does not mention.
func publish(c *spec.Container, exposed []spec.PortRange) error {
	if !c.Network.PublishAll {
		return nil
	}
	n := 0
	for _, r := range exposed {
		n += r.Size()
	}
	if n > maxPublished {
		return errs.WithHint(errs.New(errs.Invalid, "the image exposes %d ports; -P publishes at most %d", n, maxPublished),
			"name those you need with -p")
	}
	for _, r := range unpublished(exposed, c.Network.Ports) {
		for port := int(r.First); port <= int(r.Last); port++ {
			c.Network.Ports = append(c.Network.Ports, spec.Port{ContainerPort: uint16(port), Protocol: r.Protocol})
		}
	}
	return nil
}

// unpublished takes the published ports out of the exposed ones.
func unpublished(exposed []spec.PortRange, published []spec.Port) []spec.PortRange {
	taken := map[string][]uint16{}
	for _, p := range published {
		taken[protocolOf(p)] = append(taken[protocolOf(p)], p.ContainerPort)
	}
	for _, list := range taken {
		slices.Sort(list)
	}
	var out []spec.PortRange
	for _, r := range exposed {
		out = append(out, r.Without(taken[r.Protocol])...)
	}
	return out
}

func protocolOf(p spec.Port) string {
	if p.Protocol == "" {
		return "tcp"
	}
	return p.Protocol
}

func portKey(p spec.Port) string { return strconv.Itoa(int(p.ContainerPort)) + "/" + protocolOf(p) }

// parsePorts reads the texts of a record.
func parsePorts(texts []string) []spec.PortRange {
	var list []spec.PortRange
	for _, x := range texts {
		if r, ok := spec.ParsePortRange(x); ok {
			list = append(list, r)
		}
	}
	return list
}

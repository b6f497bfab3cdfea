// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/proa-containers/proa/network/ipam"
)

// ttl of names of containers, in seconds: they come and go.
const ttl = 5

// answer makes the reply to one query; nil means none. tcp says how it came,
// which is how it is passed on.
func (s *Server) answer(query []byte, tcp bool) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return failure(h, nil, dnsmessage.RCodeFormatError)
	}
	if h.OpCode != 0 {
		return failure(h, &q, dnsmessage.RCodeNotImplemented)
	}
	if q.Class == dnsmessage.ClassINET {
		if reply := s.local(h, q); reply != nil {
			return reply
		}
	}
	if reply := s.forward(query, q, tcp); reply != nil {
		return reply
	}
	return failure(h, &q, dnsmessage.RCodeServerFailure)
}

// local answers what the networks know; nil: ask the world.
func (s *Server) local(h dnsmessage.Header, q dnsmessage.Question) []byte {
	name := strings.TrimSuffix(q.Name.String(), ".")
	if a, ok := reverse(name); ok {
		return s.pointer(h, q, a)
	}
	recs := s.find(name)
	if len(recs) == 0 {
		return nil
	}
	// The name is ours: a type that it does not have is "no data", never
	// another server's business, or AAAA would answer NXDOMAIN for a name whose
	// A exists.
	var addrs []netip.Addr
	for _, r := range recs {
		for _, a := range r.Addrs {
			if (q.Type == dnsmessage.TypeA && a.Is4()) || (q.Type == dnsmessage.TypeAAAA && a.Is6()) {
				addrs = append(addrs, a)
			}
		}
	}
	return reply(h, q, func(b *dnsmessage.Builder, rh dnsmessage.ResourceHeader) error {
		for _, a := range addrs {
			var err error
			if a.Is4() {
				err = b.AResource(rh, dnsmessage.AResource{A: a.As4()})
			} else {
				err = b.AAAAResource(rh, dnsmessage.AAAAResource{AAAA: a.As16()})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Server) find(name string) []ipam.Record {
	var out []ipam.Record
	for _, d := range s.cfg.Networks {
		out = append(out, d.Lookup(name)...)
	}
	return out
}

func (s *Server) pointer(h dnsmessage.Header, q dnsmessage.Question, a netip.Addr) []byte {
	for _, d := range s.cfg.Networks {
		r, ok := d.Owner(a)
		if !ok {
			continue
		}
		name, err := dnsmessage.NewName(r.Name + ".")
		if err != nil {
			return nil
		}
		return reply(h, q, func(b *dnsmessage.Builder, rh dnsmessage.ResourceHeader) error {
			if q.Type != dnsmessage.TypePTR && q.Type != dnsmessage.TypeALL {
				return nil
			}
			return b.PTRResource(rh, dnsmessage.PTRResource{PTR: name})
		})
	}
	return nil
}

func reply(h dnsmessage.Header, q dnsmessage.Question, fill func(*dnsmessage.Builder, dnsmessage.ResourceHeader) error) []byte {
	b := dnsmessage.NewBuilder(make([]byte, 0, 512), dnsmessage.Header{
		ID: h.ID, Response: true, RecursionDesired: h.RecursionDesired, RecursionAvailable: true,
	})
	b.EnableCompression()
	if b.StartQuestions() != nil || b.Question(q) != nil || b.StartAnswers() != nil {
		return nil
	}
	if fill(&b, dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: ttl}) != nil {
		return nil
	}
	out, err := b.Finish()
	if err != nil {
		return nil
	}
	return out
}

func failure(h dnsmessage.Header, q *dnsmessage.Question, code dnsmessage.RCode) []byte {
	m := dnsmessage.Message{Header: dnsmessage.Header{
		ID: h.ID, Response: true, OpCode: h.OpCode, RecursionDesired: h.RecursionDesired,
		RecursionAvailable: true, RCode: code,
	}}
	if q != nil {
		m.Questions = []dnsmessage.Question{*q}
	}
	out, err := m.Pack()
	if err != nil {
		return nil
	}
	return out
}

// reverse reads the address out of a name under in-addr.arpa or ip6.arpa.
func reverse(name string) (netip.Addr, bool) {
	name = strings.ToLower(name)
	if rest, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		l := strings.Split(rest, ".")
		if len(l) != 4 {
			return netip.Addr{}, false
		}
		a, err := netip.ParseAddr(l[3] + "." + l[2] + "." + l[1] + "." + l[0])
		return a, err == nil && a.Is4()
	}
	rest, ok := strings.CutSuffix(name, ".ip6.arpa")
	if !ok || len(rest) != 63 {
		return netip.Addr{}, false
	}
	var text strings.Builder
	for i := 62; i >= 0; i -= 2 {
		text.WriteByte(rest[i])
		if i%8 == 0 && i > 0 {
			text.WriteByte(':')
		}
	}
	a, err := netip.ParseAddr(text.String())
	return a, err == nil && a.Is6()
}

// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// setFilter loads the packet filter of the bridges' namespace. It is the same
// whatever networks there are, so that adding one needs no privilege and no
// lock: bridges tell by their interface group whether they may reach the
// world.
//
//	table inet proa {
//	  chain forward     { policy drop
//	                      ct state established,related accept
//	                      iifgroup 1 oifname "tap0" accept }
//	  chain postrouting { oifname "tap0" masquerade }
//	  chain output      { meta mark FORWARD ct mark set FORWARD }
//	  chain prerouting  { ct mark FORWARD meta mark set ANSWER }
//	}
//
// Between bridges nothing passes: networks are isolated from each other.
func setFilter() error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("cannot talk to nftables: %w", err)
	}
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: "proa"}
	// Add first: removing what is not there would fail the whole batch.
	c.AddTable(t)
	c.DelTable(t)
	c.AddTable(t)
	drop := nftables.ChainPolicyDrop
	chain := func(name string, typ nftables.ChainType, hook *nftables.ChainHook, prio *nftables.ChainPriority) *nftables.Chain {
		return &nftables.Chain{Name: name, Table: t, Type: typ, Hooknum: hook, Priority: prio}
	}
	forward := chain("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter)
	forward.Policy = &drop
	post := chain("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	out := chain("output", nftables.ChainTypeFilter, nftables.ChainHookOutput, nftables.ChainPriorityMangle)
	pre := chain("prerouting", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityMangle)
	for _, ch := range []*nftables.Chain{forward, post, out, pre} {
		c.AddChain(ch)
	}
	rule := func(ch *nftables.Chain, parts ...[]expr.Any) {
		r := &nftables.Rule{Table: t, Chain: ch}
		for _, p := range parts {
			r.Exprs = append(r.Exprs, p...)
		}
		c.AddRule(r)
	}
	accept := []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}
	rule(forward, established(), accept)
	rule(forward, metaIs(expr.MetaKeyIIFGROUP, u32(GroupOutbound)), toTap(), accept)
	rule(post, toTap(), []expr.Any{&expr.Masq{}})
	rule(out, metaIs(expr.MetaKeyMARK, u32(MarkForward)), setReg(MarkForward),
		[]expr.Any{&expr.Ct{Key: expr.CtKeyMARK, Register: 1, SourceRegister: true}})
	rule(pre, []expr.Any{&expr.Ct{Key: expr.CtKeyMARK, Register: 1}, equal(u32(MarkForward))}, setReg(markAnswer),
		[]expr.Any{&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true}})
	if err := c.Flush(); err != nil {
		return fmt.Errorf("cannot load the packet filter: %w", err)
	}
	return nil
}

func u32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

func equal(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }

func setReg(v uint32) []expr.Any { return []expr.Any{&expr.Immediate{Register: 1, Data: u32(v)}} }

func metaIs(key expr.MetaKey, data []byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, equal(data)}
}

func toTap() []expr.Any {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, tapName)
	return metaIs(expr.MetaKeyOIFNAME, name)
}

func established() []expr.Any {
	states := u32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: states, Xor: u32(0)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: u32(0)},
	}
}

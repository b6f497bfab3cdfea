// SPDX-License-Identifier: Apache-2.0

package files

import (
	"strconv"
	"strings"

	"github.com/proa-containers/proa/pkg/errs"
)

// Mode is the value of --chmod: an octal mode, or chmod(1)'s symbolic
// form.
type Mode struct {
	octal   uint32
	isOctal bool
	clauses []modeClause
}

type modeClause struct {
	who  uint32 // mask of the bits that it concerns
	op   byte   // + - =
	perm string // of r w x X s t
}

// ParseMode reads the value of --chmod; none gives nil.
func ParseMode(s string) (*Mode, error) {
	if s == "" {
		return nil, nil
	}
	bad := errs.New(errs.Invalid, "invalid chmod parameter: %q: it should be an octal mode from 0 to 07777 or a symbolic one like u=rwX,go=rX", s)
	if s[0] >= '0' && s[0] <= '9' {
		n, err := strconv.ParseUint(s, 8, 32)
		if err != nil || n > 0o7777 {
			return nil, bad
		}
		return &Mode{octal: uint32(n), isOctal: true}, nil
	}
	m := &Mode{}
	for _, part := range strings.Split(s, ",") {
		i := strings.IndexAny(part, "+-=")
		if i < 0 || strings.Trim(part[:i], "ugoa") != "" || strings.Trim(part[i+1:], "rwxXst") != "" {
			return nil, bad
		}
		m.clauses = append(m.clauses, modeClause{who: whoMask(part[:i]), op: part[i], perm: part[i+1:]})
	}
	return m, nil
}

func whoMask(who string) uint32 {
	var mask uint32
	for _, c := range who {
		switch c {
		case 'u':
			mask |= 0o4700
		case 'g':
			mask |= 0o2070
		case 'o':
			mask |= 0o1007
		case 'a':
			mask |= 0o7777
		}
	}
	if mask == 0 {
		mask = 0o7777
	}
	return mask
}

func (m *Mode) apply(mode uint32, dir bool) uint32 {
	if m.isOctal {
		return m.octal
	}
	for _, c := range m.clauses {
		var bits uint32
		for _, p := range c.perm {
			switch p {
			case 'r':
				bits |= 0o444
			case 'w':
				bits |= 0o222
			case 'x':
				bits |= 0o111
			case 'X':
				if dir || mode&0o111 != 0 {
					bits |= 0o111
				}
			case 's':
				bits |= 0o6000
			case 't':
				bits |= 0o1000
			}
		}
		bits &= c.who
		switch c.op {
		case '+':
			mode |= bits
		case '-':
			mode &^= bits
		case '=':
			mode = mode&^(c.who&0o777) | bits
		}
	}
	return mode
}

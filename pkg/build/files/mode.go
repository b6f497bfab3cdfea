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
	perm string // of r w x X s t, or one of u g o: the bits that this class has
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
		who := part[:len(part)-len(strings.TrimLeft(part, "ugoa"))]
		rest := part[len(who):]
		if rest == "" {
			return nil, bad
		}
		for rest != "" { // one or more operations, as in u+r-w
			op := rest[0]
			end := strings.IndexAny(rest[1:], "+-=") + 1
			if end == 0 {
				end = len(rest)
			}
			perm := rest[1:end]
			class := len(perm) == 1 && strings.Contains("ugo", perm)
			if !strings.Contains("+-=", string(op)) || !class && strings.Trim(perm, "rwxXst") != "" {
				return nil, bad
			}
			m.clauses = append(m.clauses, modeClause{whoMask(who), op, perm})
			rest = rest[end:]
		}
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
		bits := permBits(c.perm, mode, dir) & c.who
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

// permBits are the bits that letters stand for, for all classes, where a file has a mode.
func permBits(perm string, mode uint32, dir bool) (bits uint32) {
	for _, p := range perm {
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
		case 'u':
			bits |= mode >> 6 & 7 * 0o111
		case 'g':
			bits |= mode >> 3 & 7 * 0o111
		case 'o':
			bits |= mode & 7 * 0o111
		}
	}
	return bits
}

// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"maps"
	"slices"
	"time"
	"unicode/utf8"
)

// encoder appends one record, with its line feed, to b.
type encoder func(b []byte, r *Record) []byte

// K8sTime is the layout of times in k8s-file logs.
const K8sTime = "2006-01-02T15:04:05.000000000Z07:00"

// appendK8s writes "TIME STREAM F|P LINE": see the Kubernetes design document
// on the container runtime interface's logs.
func appendK8s(b []byte, r *Record) []byte {
	b = r.Time.UTC().AppendFormat(b, K8sTime)
	b = append(b, ' ')
	b = append(b, r.Stream.String()...)
	if r.Partial {
		b = append(b, " P "...)
	} else {
		b = append(b, " F "...)
	}
	b = append(b, r.Line...)
	return append(b, '\n')
}

// jsonEncoder writes Docker's records: a full line has its line feed inside
// "log", a part has none.
func jsonEncoder(attrs map[string]string) encoder {
	var extra []byte
	if len(attrs) > 0 {
		extra = append(extra, `,"attrs":{`...)
		for i, k := range slices.Sorted(maps.Keys(attrs)) {
			if i > 0 {
				extra = append(extra, ',')
			}
			extra = append(extra, '"')
			extra = appendEscaped(extra, []byte(k))
			extra = append(extra, `":"`...)
			extra = appendEscaped(extra, []byte(attrs[k]))
			extra = append(extra, '"')
		}
		extra = append(extra, '}')
	}
	return func(b []byte, r *Record) []byte {
		b = append(b, `{"log":"`...)
		b = appendEscaped(b, r.Line)
		if !r.Partial {
			b = append(b, `\n`...)
		}
		b = append(b, `","stream":"`...)
		b = append(b, r.Stream.String()...)
		b = append(b, '"')
		b = append(b, extra...)
		b = append(b, `,"time":"`...)
		b = r.Time.UTC().AppendFormat(b, time.RFC3339Nano)
		return append(b, '"', '}', '\n')
	}
}

const hexDigits = "0123456789abcdef"

// plain marks the ASCII bytes that need no escape. Docker escapes <, > and &
// as well, and so do we: the files are compared byte by byte.
var plain = func() (t [utf8.RuneSelf]bool) {
	for c := range t {
		t[c] = c >= ' ' && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	return t
}()

// appendEscaped appends s as the inside of a JSON string. Bytes that are no
// UTF-8 become U+FFFD, one by one.
func appendEscaped(b, s []byte) []byte {
	start := 0
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if plain[c] {
				i++
				continue
			}
			b = append(b, s[start:i]...)
			b = appendEscapedByte(b, c)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRune(s[i:])
		if r == utf8.RuneError && size == 1 {
			b = append(append(b, s[start:i]...), `\ufffd`...)
			i++
			start = i
			continue
		}
		if r == '\u2028' || r == '\u2029' {
			b = append(append(b, s[start:i]...), `\u202`...)
			b = append(b, hexDigits[r&0xf])
			i += size
			start = i
			continue
		}
		i += size
	}
	return append(b, s[start:]...)
}

func appendEscapedByte(b []byte, c byte) []byte {
	switch c {
	case '\\', '"':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
}

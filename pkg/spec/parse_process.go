// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"bytes"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// LookupEnv is os.LookupEnv, or a test's stand-in.
type LookupEnv func(string) (string, bool)

// ParseEnv resolves -e values: "K=V" stays, "K" takes the caller's value. Where the
// caller has none it stays "K": the image's own value goes.
func ParseEnv(values []string, lookup LookupEnv) ([]string, error) {
	var env []string
	for _, v := range values {
		key, _, has := strings.Cut(v, "=")
		if key == "" {
			return nil, invalid("write -e NAME=VALUE", "invalid environment variable: %s", v)
		}
		if strings.ContainsRune(v, 0) {
			return nil, invalid("write -e NAME=VALUE", "invalid environment variable: %q contains a zero byte", v)
		}
		if has {
			env = append(env, v)
		} else if val, ok := lookup(key); ok {
			env = append(env, key+"="+val)
		} else {
			env = append(env, key)
		}
	}
	return env, nil
}

// ParseEnvFile parses the content of an --env-file by Docker's rules: one
// NAME=VALUE per line without quoting, # starts a comment at the beginning of
// a line, a bare NAME takes the caller's value.
func ParseEnvFile(name string, content []byte, lookup LookupEnv) ([]string, error) {
	var env []string
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
	for i, raw := range bytes.Split(content, []byte("\n")) {
		raw = bytes.TrimSuffix(raw, []byte("\r"))
		if !utf8.Valid(raw) {
			return nil, invalid("save the file as UTF-8", "env file %s contains invalid utf8 bytes at line %d: %q", name, i+1, raw)
		}
		line := strings.TrimLeftFunc(string(raw), unicode.IsSpace)
		if line == "" || line[0] == '#' {
			continue
		}
		key, val, has := strings.Cut(line, "=")
		key = strings.TrimLeft(key, " \t")
		if strings.ContainsAny(key, " \t") {
			return nil, invalid("write NAME=VALUE without blanks in the name", "invalid env file (%s): variable '%s' contains whitespaces", name, key)
		}
		if key == "" {
			return nil, invalid("write NAME=VALUE", "invalid env file (%s): no variable name on line '%s'", name, line)
		}
		if strings.ContainsRune(line, 0) {
			return nil, invalid("remove it", "invalid env file (%s): line %d contains a zero byte", name, i+1)
		}
		if has {
			env = append(env, key+"="+val)
		} else if v, ok := lookup(key); ok {
			env = append(env, key+"="+v)
		}
	}
	return env, nil
}

// ParseLabels parses --label values: NAME[=VALUE]; the last one wins.
func ParseLabels(values []string) (map[string]string, error) {
	if len(values) == 0 {
		return nil, nil
	}
	labels := map[string]string{}
	for _, v := range values {
		key, val, _ := strings.Cut(v, "=")
		if strings.TrimSpace(key) == "" {
			return nil, invalid("write --label NAME=VALUE", "invalid label: '%s': empty name", v)
		}
		labels[key] = val
	}
	return labels, nil
}

// ParseLabelFile parses the content of a --label-file: the form of an
// env file, a bare name being an empty label.
func ParseLabelFile(name string, content []byte) ([]string, error) {
	return ParseEnvFile(name, content, func(string) (string, bool) { return "", true })
}

// ParseKeyValues parses NAME=VALUE options such as --log-opt.
func ParseKeyValues(flag string, values []string) (map[string]string, error) {
	if len(values) == 0 {
		return nil, nil
	}
	m := map[string]string{}
	for _, v := range values {
		key, val, ok := strings.Cut(v, "=")
		if !ok || key == "" {
			return nil, invalid("write --"+flag+" NAME=VALUE", "invalid --%s value %q: not in the form NAME=VALUE", flag, v)
		}
		m[key] = val
	}
	return m, nil
}

// ParseUser checks --user: NAME|UID[:GROUP|GID]. Names are looked up in the
// container's own /etc/passwd when it starts.
func ParseUser(value string) (string, error) {
	const hint = "write --user NAME|UID[:GROUP|GID]"
	user, group, has := strings.Cut(value, ":")
	if user == "" && has || has && group == "" || strings.Contains(group, ":") || strings.ContainsAny(value, "\n\x00") {
		return "", invalid(hint, "invalid user %q", value)
	}
	for _, s := range []string{user, group} {
		if strings.Trim(s, "-0123456789") != "" || s == "" {
			continue
		}
		if n, err := strconv.ParseInt(s, 10, 64); err != nil || n < 0 || n > 1<<31-1 {
			return "", invalid("ids go from 0 to 2147483647", "invalid user %q: id %s is out of range", value, s)
		}
	}
	return value, nil
}

// CheckHostname reports whether name can be a host name.
func CheckHostname(name string) error {
	if len(name) > 63 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' }) {
		return invalid("use at most 63 letters, digits, dots and dashes", "invalid hostname %q", name)
	}
	return nil
}

// CheckContainerName reports whether name can name a container.
func CheckContainerName(name string) error {
	name = strings.TrimPrefix(name, "/")
	if !validName(name) {
		return invalid("use letters, digits, dots, dashes and underscores, the first a letter or digit",
			"Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name)
	}
	return nil
}

// ParseAttach checks the values of -a.
func ParseAttach(values []string) ([]string, error) {
	var out []string
	for _, v := range values {
		s := strings.ToLower(v)
		switch s {
		case "stdin", "stdout", "stderr":
			out = append(out, s)
		default:
			return nil, invalid("write -a stdin, -a stdout or -a stderr", "valid streams are STDIN, STDOUT and STDERR")
		}
	}
	return out, nil
}

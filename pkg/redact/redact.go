// SPDX-License-Identifier: Apache-2.0

// Package redact hides the accounts in URLs, which may be tokens, from what is
// shown and from what others get: messages, progress, the history of images. It
// writes what BuildKit writes: https://xxxxx:xxxxx@example.com/. As there, a
// query is shown as it is.
package redact

import (
	"net/url"
	"strings"
	"unicode"
)

const mask = "xxxxx"

// URL is one URL without its account, whether it can be parsed or not. What is no
// URL stays.
func URL(address string) string {
	return hide(address, func(_, rest string) string { return rest })
}

// Text is a text in which no URL has an account any more.
func Text(text string) string { return hide(text, word) }

// hide replaces every account in text. wordOf is how much of what follows "://"
// belongs to the URL.
func hide(text string, wordOf func(before, rest string) string) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, "://")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		out.WriteString("://")
		account := account(wordOf(before, rest))
		out.WriteString(masked(account))
		text = rest[len(account):]
	}
}

// word ends at the quote that it began with, else at white space.
func word(before, rest string) string {
	scheme := strings.TrimRightFunc(before, func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("+.-", r)
	})
	for _, quote := range []string{`"`, `'`} {
		if !strings.HasSuffix(scheme, quote) {
			continue
		}
		if w, _, closed := strings.Cut(rest, quote); closed {
			return w
		}
	}
	if end := strings.IndexFunc(rest, unicode.IsSpace); end >= 0 {
		return rest[:end]
	}
	return rest
}

// account is the account that a URL begins with behind its scheme.
func account(rest string) string {
	authority := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority = rest[:end]
	}
	if at := strings.LastIndex(authority, "@"); at >= 0 {
		return rest[:at]
	}
	// What looks like a port and is none may be the beginning of a password that has
	// one of the characters that end the authority. A variable is neither.
	if _, err := url.Parse("x://" + authority); err != nil && !strings.Contains(authority, "$") {
		if at := strings.LastIndex(rest, "@"); at >= 0 {
			return rest[:at]
		}
	}
	return ""
}

func masked(account string) string {
	user, _, password := strings.Cut(account, ":")
	if user != "" {
		user = mask
	}
	if password {
		return user + ":" + mask
	}
	return user
}

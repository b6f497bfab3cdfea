// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/proa-containers/proa/libpod"
)

func (f *fakeEngine) Volumes(context.Context, map[string][]string) ([]libpod.Volume, error) {
	return []libpod.Volume{{Name: "data1"}}, nil
}

// completions are the words for the last one of the line, and the last line of the answer.
func completions(t *testing.T, line string) (words []string, how string) {
	t.Helper()
	r := proa(append([]string{"__complete", "--"}, strings.Split(line, " ")...)...)
	if r.code != 0 || r.errOut != "" {
		t.Fatalf("%q: status %d %s", line, r.code, r.errOut)
	}
	for _, l := range strings.Split(strings.TrimSuffix(r.out, "\n"), "\n") {
		if strings.HasPrefix(l, ":") {
			how = strings.TrimSpace(l)
			continue
		}
		word, _, _ := strings.Cut(l, "\t")
		words = append(words, word)
	}
	return words, how
}

func TestCompletion(t *testing.T) {
	for line, want := range map[string]string{
		// commands
		"r":                   "run rename restart rm rmi :",
		"container l":         "logs ls :",
		"help st":             "start stop :",
		"--log-level debug r": "run rename restart rm rmi :",
		"nosuchcommand ":      ":",
		"image nosuch ":       ":",
		"completion ":         "bash zsh fish :",
		// flags
		"run --memory-s":              "--memory-swap :",
		"run my-alpine:latest --na":   ":",
		"rm -- -":                     ":",
		"exec web -":                  ":",
		"run --pull ":                 "always missing never newer :",
		"run --pull=":                 "always missing never newer :\t--pull=",
		"run --pull=n":                "never newer :\t--pull=",
		"run --restart un":            "unless-stopped :",
		"run --userns k":              "keep-id :",
		"run --network c":             "container: :",
		"run --network container:":    "container:web :",
		"run --rm=":                   "true false :\t--rm=",
		"run --name ":                 ":",
		"run --env-file ":             ":files",
		"run --env-file=x":            ":files\t--env-file=",
		"run -e A=1 --cidfile ":       ":files",
		"--data-dir ":                 ":dirs",
		"run --gpus ":                 ":",
		"run -v d":                    "data1: :",
		"run -vd":                     "data1: :\t-v",
		"run -itv d":                  "data1: :",
		"run -v /":                    ":dirs",
		"run -v data1:/x:noc":         "data1:/x:nocopy :",
		"run -v data1:/x:ro,noc":      "data1:/x:ro,nocopy :",
		"run --mount ty":              "type= :",
		"run --mount type=v":          "type=volume :",
		"ps --filter st":              "status= :",
		"ps --filter=status=run":      "status=running :\t--filter=",
		"ps --format {{.I":            "{{.ID}} {{.Image}} {{.ImageID}} :",
		"volume ls --format j":        "json :",
		"images -f dang":              "dangling= :",
		"images -f dangling=":         "dangling=true dangling=false :",
		"stop --filter label":         "label= label!= :",
		"volume prune --filter a":     "all= :",
		"builder prune --filter ":     "until= :",
		"run --mount type=bind,t":     "type=bind,target= type=bind,tmpfs-size= type=bind,tmpfs-mode= :",
		"build --progress=p":          "plain :\t--progress=",
		"kill -s TE":                  "TERM :",
		"stop --signal=HU":            "HUP :\t--signal=",
		"build --network ":            "default none host :",
		"run --cap-drop SYS_PTR":      "SYS_PTRACE :",
		"--log-level ":                "debug info warn error fatal :",
		"run --ipc sh":                "shareable :",
		"build -f ":                   ":files",
		"push --compression-format z": "zstd zstd:chunked :",
		// objects
		"rm ":                      "web sample :",
		"rm web ":                  "sample :",
		"rm -f w":                  "web :",
		"stop ":                    "web :",
		"exec -it ":                "web :",
		"start ":                   "sample :",
		"unpause ":                 ":",
		"exec web ":                ":",
		"top web ":                 ":",
		"rename web ":              ":",
		"run my":                   "my-alpine:latest :",
		"run my-alpine:":           "my-alpine:latest :",
		"run img ":                 ":",
		"image rm localhost:5000/": "localhost:5000/my/alpine:1.0 :",
		"volume rm ":               "data1 :",
		"volume create ":           ":",
		"builder use ":             ":",
		"diff w":                   "web :",
		"inspect d":                "data1 :",
		"build ":                   ":files",
		"import ":                  ":files",
		"ps ":                      ":",
	} {
		words, how := completions(t, line)
		if got := strings.TrimSpace(strings.Join(words, " ") + " " + how); got != want {
			t.Errorf("%q completes to %q, want %q", line, got, want)
		}
	}
	// A flag that cannot be given twice is offered once.
	words, _ := completions(t, "run --rm -e A=1 --")
	if slices.Contains(words, "--rm") || !slices.Contains(words, "--env") || !slices.Contains(words, "--help") {
		t.Errorf("flags behind --rm and -e: %q", words)
	}
}

// TestSuggestedValues wants every value that completion offers to be one that the flag takes.
func TestSuggestedValues(t *testing.T) {
	a := &app{std: Std{Dir: "/base"}, opener: func(context.Context, *app) (any, error) { return new(fakeEngine), nil }}
	seen := 0
	var walk func(path []*command, words string)
	walk = func(path []*command, words string) {
		cmd := path[len(path)-1]
		for _, d := range docFlags(path).list {
			if d.suggest == nil || d.hidden {
				continue
			}
			for _, w := range d.suggest(t.Context(), a, "").words {
				w, _, _ = strings.Cut(w, "\t")
				if strings.HasSuffix(w, ":") || strings.HasSuffix(w, ",") || strings.HasSuffix(w, "=") {
					continue
				}
				seen++
				if err := d.set(w); err != nil {
					t.Errorf("%s --%s %s: %v", words, d.name, w, err)
				}
			}
		}
		for _, s := range cmd.sub {
			walk(append(path[:len(path):len(path)], s), words+" "+s.name)
		}
	}
	root := tree()
	walk([]*command{root}, root.name)
	if seen < 100 {
		t.Errorf("only %d values", seen)
	}
}

// TestBashScript hands the script what bash would: the line, cut into words at ":" and "=".
// In place of proa a function tells what it was asked.
func TestBashScript(t *testing.T) {
	const stub = `proa() { echo "${*:3}" >&2; printf 'web:one\tabout\n:\t%s\n' "$PREFIX"; }` + "\n"
	const call = `COMP_POINT=${#COMP_LINE} COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); exec 2>&1; _proa; echo "${COMPREPLY[*]}"`
	for line, c := range map[string]struct{ words, prefix, want string }{
		"proa run web:o":             {"proa run web : o", "", "run web:o|one"},
		"proa run web:":              {"proa run web :", "", "run web:|one"},
		"proa run we":                {"proa run we", "", "run we|web:one"},
		"proa run --x=w":             {"proa run --x = w", "--x=", "run --x=w|web:one"},
		"proa run --x=web:":          {"proa run --x = web :", "--x=", "run --x=web:|one"},
		"proa run -e A=1:2 b  we":    {"proa run -e A = 1 : 2 b we", "", "run -e A=1:2 b we|web:one"},
		"proa run -v data:/x :z web": {"proa run -v data : /x : z web", "", "run -v data:/x :z web|web:one"},
		`proa run "we`:               {`proa run '"we'`, "", "run we|web:one"},
		"proa ":                      {"proa ''", "", "web:one"},
	} {
		script := proa("completion", "bash").out
		// The descriptor of the answer hides the stub's standard error: it goes to a third one.
		script = strings.Replace(script, "2>/dev/null)", ")", 1)
		cmd := exec.Command("bash", "-c", script+stub+"COMP_LINE=$LINE COMP_WORDS=("+c.words+"); "+call)
		cmd.Env = append(cmd.Environ(), "LINE="+line, "PREFIX="+c.prefix)
		out, err := cmd.CombinedOutput()
		if got := strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", "|"); err != nil || got != c.want {
			t.Errorf("%q: %v\n got %s\nwant %s", line, err, got, c.want)
		}
	}
}

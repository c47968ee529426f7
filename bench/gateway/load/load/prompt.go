package main

import (
	"bytes"
	"fmt"
	"strings"

	"berth.dev/bench/gateway/load/content"
)

// mark stands near the beginning of a prompt, and each conversation writes its own number there, so
// that prompts differ from their first words on and none has to be built while we measure.
const mark = "000000000000"

// prompt is a whole request, head and body, of one turn of any conversation.
type prompt struct {
	bytes  []byte
	number int // where the conversation's number stands
}

// prompts are the turns of a conversation. The order of fields is the OpenAI client's: the messages
// come first, and what a gateway routes by comes after them.
func prompts(given options, host string) []prompt {
	made := make([]prompt, 0, given.turns)
	first := "conversation " + mark + " "
	said := message("user", first+content.Prompt(given.promptBytes-len(first)))
	for turn := range given.turns {
		if turn > 0 {
			part := content.Prompt(given.turnBytes)
			said += "," + message("assistant", part) + "," + message("user", part)
		}
		made = append(made, whole(given, host, said))
	}
	return made
}

func message(role, text string) string {
	return fmt.Sprintf(`{"role":"%s","content":"%s"}`, role, text)
}

func whole(given options, host, messages string) prompt {
	content := `"messages":[` + messages + `]`
	if strings.HasSuffix(given.path, "/v1/completions") {
		content = `"prompt":"conversation ` + mark + strings.Repeat(" x", given.promptBytes/2) + `"`
	}
	fields := content + `,"model":"` + given.model + `"`
	if given.stream {
		fields += fmt.Sprintf(`,"max_tokens":%d,"stream":true`, given.chunks)
	} else {
		fields += `,"max_tokens":128`
	}
	if given.ignoreEnd {
		fields += `,"ignore_eos":true`
	}
	authorization := ""
	if given.key != "" {
		authorization = "authorization: Bearer " + given.key + "\r\n"
	}
	request := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nhost: %s\r\nuser-agent: berth-bench\r\n"+
		"accept: application/json\r\ncontent-type: application/json\r\n%scontent-length: %d\r\n\r\n{%s}",
		given.path, host, authorization, len(fields)+2, fields)
	return prompt{bytes: request, number: bytes.Index(request, []byte(mark))}
}

// write puts a conversation's number into the request.
func (p *prompt) write(number int) {
	for at := p.number + len(mark) - 1; at >= p.number; at-- {
		p.bytes[at] = byte('0' + number%10)
		number /= 10
	}
}

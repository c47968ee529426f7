// Package content makes what the mock engine says. It is the same every time, so that a load
// generator which knows the model and the number of chunks knows every byte that must arrive.
package content

import (
	"fmt"
	"hash/crc32"
	"strings"
)

const (
	created    = 1760000000
	chatID     = "chatcmpl-8f1a0c2e4b6d4f7fa1b2c3d4e5f60718"
	textID     = "cmpl-8f1a0c2e4b6d4f7fa1b2c3d4e5f60718"
	replyBytes = 1024 // of a whole answer that does not stream

	Done = "data: [DONE]\n\n"
)

var (
	table = crc32.MakeTable(crc32.Castagnoli)
	words = strings.Fields("the model serves a prompt and each word of its answer is sent as soon " +
		"as it has been made so that nobody waits for the last one to read what came first")
)

// Kind is which of the two APIs a request speaks.
type Kind struct {
	Chat  bool
	Model string
}

// Event is the stream's n-th of `count`: vLLM's fields in vLLM's order, 200 to 250 bytes.
func (k Kind) Event(n, count int) string {
	finish := "null"
	if n == count-1 {
		finish = `"stop"`
	}
	word := " " + words[n%len(words)]
	if !k.Chat {
		return fmt.Sprintf(`data: {"id":"%s","object":"text_completion","created":%d,"model":"%s",`+
			`"choices":[{"index":0,"text":"%s","logprobs":null,"finish_reason":%s,`+
			`"stop_reason":null}],"usage":null}`+"\n\n", textID, created, k.Model, word, finish)
	}
	delta := fmt.Sprintf(`{"content":"%s"}`, word)
	if n == 0 {
		delta = `{"role":"assistant","content":""}`
	}
	return fmt.Sprintf(`data: {"id":"%s","object":"chat.completion.chunk","created":%d,"model":"%s",`+
		`"choices":[{"index":0,"delta":%s,"logprobs":null,"finish_reason":%s,"token_ids":null}]}`+
		"\n\n", chatID, created, k.Model, delta, finish)
}

// Usage is the event that `stream_options.include_usage` asks for, before the end.
func (k Kind) Usage(count int) string {
	id, object := textID, "text_completion"
	if k.Chat {
		id, object = chatID, "chat.completion.chunk"
	}
	return fmt.Sprintf(`data: {"id":"%s","object":"%s","created":%d,"model":"%s","choices":[],`+
		`"usage":%s}`+"\n\n", id, object, created, k.Model, usage(count))
}

// Reply is the whole answer of a request that does not stream: 1 KiB.
func (k Kind) Reply() string {
	id, object, before, after := textID, "text_completion", `"text":"`, `"`
	if k.Chat {
		id, object = chatID, "chat.completion"
		before, after = `"message":{"role":"assistant","content":"`, `","tool_calls":[]}`
	}
	head := fmt.Sprintf(`{"id":"%s","object":"%s","created":%d,"model":"%s","choices":[{"index":0,%s`,
		id, object, created, k.Model, before)
	tail := after + `,"logprobs":null,"finish_reason":"stop","stop_reason":null}],"usage":` +
		usage(128) + `}`
	return head + text(replyBytes-len(head)-len(tail)) + tail
}

func usage(completion int) string {
	const prompt = 200
	return fmt.Sprintf(`{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":%d,`+
		`"prompt_tokens_details":null}`, prompt, prompt+completion, completion)
}

// Prompt is text of exactly this many bytes that needs no escaping in JSON.
func Prompt(bytes int) string { return text(bytes) }

func text(bytes int) string {
	var built strings.Builder
	for n := 0; built.Len() < bytes; n++ {
		built.WriteString(words[n%len(words)])
		built.WriteByte(' ')
	}
	return built.String()[:max(0, bytes)]
}

// Sum continues a checksum of the content that arrived.
func Sum(before uint32, data []byte) uint32 { return crc32.Update(before, table, data) }

// StreamSum is the checksum of a whole stream.
func (k Kind) StreamSum(count int, withUsage bool) uint32 {
	sum := uint32(0)
	for n := range count {
		sum = Sum(sum, []byte(k.Event(n, count)))
	}
	if withUsage {
		sum = Sum(sum, []byte(k.Usage(count)))
	}
	return Sum(sum, []byte(Done))
}

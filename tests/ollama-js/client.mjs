// One call of Ollama's own JavaScript client: `node client.mjs <call> <json of its argument>`.
// Prints what the call gave, a list for a stream, or the error that it threw, as one line of JSON.
import { Ollama } from 'ollama'

const [call, argument] = process.argv.slice(2)
const { BERTH_URL: host, BERTH_KEY: key } = process.env
const client = new Ollama({ host, headers: { Authorization: `Bearer ${key}` } })

async function answer() {
  const request = JSON.parse(argument)
  const given = await client[call](request)
  if (!request?.stream) return given
  const lines = []
  for await (const line of given) lines.push(line)
  return lines
}

const told = await answer().then(
  (value) => ({ value }),
  (error) => ({ error: error.message, status: error.status_code ?? null }),
)
console.log(JSON.stringify(told))

// A story told with node-postgres: the database's URL is in DATABASE_URL, the package on NODE_PATH. Prints JSON.
const { Client } = require('pg')

const UPDATE = 'UPDATE incident SET short_description = $1 WHERE number = $2'

async function refusal(at, work) {
  try {
    await work()
    return null
  } catch (error) {
    return { at: at(), code: error.code, message: error.message, detail: error.detail }
  }
}

async function main() {
  const client = new Client({ connectionString: process.env.DATABASE_URL })
  await client.connect()
  const told = {}
  const one = "SELECT state, state__value, sys_mod_count FROM incident WHERE number = 'INC0000001'"
  told.was = (await client.query(one)).rows[0]
  const updated = await client.query("UPDATE incident SET state = $1 WHERE number = 'INC0000001'", ['In Progress'])
  told.updated = updated.rowCount
  told.is = (await client.query(one)).rows[0]
  const made = await client.query('INSERT INTO incident (short_description) VALUES ($1) RETURNING sys_id, number', ['by node'])
  told.returned = made.rows[0].number
  const row = await client.query('SELECT number, opened_at FROM incident WHERE sys_id = $1', [made.rows[0].sys_id])
  told.made = [row.rows[0].number.slice(0, 3), row.rows[0].opened_at instanceof Date]
  told.label = await refusal(() => 'query', () => client.query("UPDATE incident SET state = 'invalid-state'"))
  told.autocommit = await refusal(() => 'query', () => client.query(UPDATE, ['bad', 'INC0000001']))
  let at = 'query'
  told.transaction = await refusal(() => at, async () => {
    await client.query('BEGIN')
    await client.query(UPDATE, ['bad', 'INC0000001'])
    at = 'COMMIT'
    await client.query('COMMIT')
  })
  await client.query({ name: 'prepared', text: UPDATE, values: ['prepared', 'INC0000002'] })
  await client.end()
  console.log(JSON.stringify(told))
}

main()

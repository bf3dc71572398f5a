// Makes or changes MongoDB's roles as roles.json has them, for users that you make:
//   mongosh "$ADMIN_URI" --file deploy/mongodb/roles.js
// DATABASE: the database's name, if it is not segue.
const name = process.env.DATABASE || "segue";
const text = require("fs").readFileSync(`${__dirname}/roles.json`, "utf8");
const roles = JSON.parse(text.replaceAll('"db": "segue"', `"db": "${name}"`));
const database = db.getSiblingDB(name);

for (const { createRole, ...rights } of roles) {
  const command = database.getRole(createRole) ? { updateRole: createRole, ...rights } : { createRole, ...rights };
  const told = database.runCommand(command);
  if (!told.ok) throw new Error(`${createRole}: ${told.errmsg}`);
}

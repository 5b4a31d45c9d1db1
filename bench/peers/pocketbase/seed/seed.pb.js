/// <reference path="../pb_data/types.d.ts" />

// `pocketbase seed USERS KEYS FILE`: a collection of values that only their owner may update, its records,
// and a file with one line for each user: id, tab, the user's own auth token.
$app.rootCmd.addCommand(
  new Command({
    use: "seed",
    run: (_command, args) => {
      const users = Number(args[0]);
      const keys = Number(args[1]);
      const tokens = [];

      $app.dao().runInTransaction((dao) => {
        const settings = dao.findSettings();
        settings.logs.maxDays = 0; // no row in logs.db for each request
        dao.saveSettings(settings);

        const accounts = dao.findCollectionByNameOrId("users");
        dao.saveCollection(
          new Collection({
            id: "benchvalues0000",
            name: "stored_values",
            type: "base",
            schema: [
              { name: "owner", type: "relation", required: true, options: { collectionId: accounts.id, maxSelect: 1 } },
              { name: "key", type: "text", required: true, options: { max: 128 } },
              { name: "value", type: "text", options: { max: 262144 } },
            ],
            indexes: ["CREATE UNIQUE INDEX one_value_per_key ON stored_values (owner, key)"],
            updateRule: "@request.auth.id = owner",
          }),
        );

        for (let n = 1; n <= users; n += 1) {
          const user = new Record(accounts, {
            id: "u" + String(n).padStart(14, "0"),
            username: "user" + n,
            tokenKey: $security.randomString(50),
            passwordHash: "*", // nobody logs in with a password here
          });
          dao.saveRecord(user);
          tokens.push(user.id + "\t" + $tokens.recordAuthToken($app, user));
        }

        dao
          .db()
          .newQuery(
            `WITH RECURSIVE keys(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM keys WHERE k < {:keys})
             INSERT INTO stored_values (id, created, updated, owner, key, value)
             SELECT users.id || '-key-' || k, users.created, users.created, users.id, 'key-' || k, '' FROM users, keys`,
          )
          .bind({ keys })
          .execute();
      });
      $os.writeFile(args[2], tokens.join("\n") + "\n", 0o600);
    },
  }),
);

"""Server scripts: business rules, script includes and the classes they use, run by QuickJS in processes of their own."""

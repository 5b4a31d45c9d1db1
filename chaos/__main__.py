from chaos.run import main

if __name__ == "__main__":  # the client processes import this file, too
    main()
